//! What package managers have noted of what they installed: Debian's dpkg, Alpine's apk, Python's wheels. Pure. Not its
//! job: finding their notes in a tree (`sbom`).

use std::collections::BTreeMap;

/// A package that somebody installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// What it runs on; empty for any.
    pub(crate) architecture: String,
}

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Apk,
    Deb,
    Python,
}

/// Which system an image is, by its os-release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) id: String,
    pub(crate) version: String,
}

impl Package {
    /// The length of its longest part.
    pub(crate) fn longest(&self) -> usize {
        let parts = [&self.name, &self.version, &self.architecture];
        parts.map(String::len).into_iter().max().unwrap_or_default()
    }

    /// Its package URL.
    pub(crate) fn url(&self, system: &System) -> String {
        let part = |text: &str| image::attestation::escaped(text, "");
        let (kind, vendor) = match self.kind {
            Kind::Apk => ("apk", Some("alpine")),
            Kind::Deb => ("deb", Some("debian")),
            Kind::Python => ("pypi", None),
        };
        let name = match self.kind {
            // As PyPI has it: one spelling for all.
            Kind::Python => self.name.to_lowercase().replace(['_', '.'], "-"),
            _ => self.name.clone(),
        };
        let mut url = format!("pkg:{kind}/");
        if let Some(vendor) = vendor {
            let vendor = if system.id.is_empty() {
                vendor
            } else {
                &system.id
            };
            url.push_str(&format!("{}/", part(vendor)));
        }
        url.push_str(&format!("{}@{}", part(&name), part(&self.version)));
        let distro = match (vendor, system.id.as_str(), system.version.as_str()) {
            (None, ..) | (_, "", _) => String::new(),
            (_, id, "") => id.to_owned(),
            (_, id, version) => format!("{id}-{version}"),
        };
        let qualifiers = [("arch", &self.architecture), ("distro", &distro)];
        let given = qualifiers.iter().filter(|(_, value)| !value.is_empty());
        for (n, (key, value)) in given.enumerate() {
            let mark = if n == 0 { '?' } else { '&' };
            url.push_str(&format!("{mark}{key}={}", part(value)));
        }
        url
    }
}

/// The packages of dpkg's `status`, or of a file of `status.d`, as images without dpkg have them.
pub(crate) fn of_dpkg(text: &str) -> Vec<Package> {
    paragraphs(text, ": ")
        .filter(|fields| {
            let status = fields.get("Status");
            status.is_none_or(|status| status.split(' ').nth(2) == Some("installed"))
        })
        .filter_map(|fields| package(Kind::Deb, &fields, ["Package", "Version", "Architecture"]))
        .collect()
}

/// The packages of apk's `installed`.
pub(crate) fn of_apk(text: &str) -> Vec<Package> {
    paragraphs(text, ":")
        .filter_map(|fields| package(Kind::Apk, &fields, ["P", "V", "A"]))
        .collect()
}

/// The package of a `METADATA` of Python: its first paragraph; what follows is prose.
pub(crate) fn of_python(text: &str) -> Option<Package> {
    let fields = paragraphs(text, ": ").next()?;
    package(Kind::Python, &fields, ["Name", "Version", ""])
}

/// What an os-release says.
pub(crate) fn system(text: &str) -> System {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim().trim_matches(['"', '\''])
    };
    // What is longer is no name of a system.
    let value = |key| Some(value(key)).filter(|value| value.len() <= 64);
    System {
        id: value("ID=").unwrap_or_default().to_owned(),
        version: value("VERSION_ID=").unwrap_or_default().to_owned(),
    }
}

fn package(kind: Kind, fields: &BTreeMap<&str, &str>, keys: [&str; 3]) -> Option<Package> {
    let [name, version, architecture] = keys.map(|key| fields.get(key).copied());
    Some(Package {
        kind,
        name: name.filter(|name| !name.is_empty())?.to_owned(),
        version: version?.to_owned(),
        architecture: architecture.unwrap_or_default().to_owned(),
    })
}

/// Paragraphs, which blank lines part, as fields; the first of a name counts. Lines that go on are left out.
fn paragraphs<'t>(
    text: &'t str,
    colon: &'t str,
) -> impl Iterator<Item = BTreeMap<&'t str, &'t str>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut fields = BTreeMap::new();
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            if let Some((key, value)) = line.split_once(colon)
                && !line.starts_with([' ', '\t'])
            {
                fields.entry(key).or_insert(value.trim());
            }
        }
        (!fields.is_empty()).then_some(fields)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(packages: &[Package]) -> Vec<String> {
        let shown = |p: &Package| format!("{} {} {}", p.name, p.version, p.architecture);
        packages.iter().map(shown).collect()
    }

    #[test]
    fn dpkg_has_installed_packages_and_others() {
        let text = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nDescription: x\n Package: no\nVersion: 1:2-3\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\n\
                    Package: bare\nVersion: 2\nArchitecture: all\n\nPackage: without\n";
        assert_eq!(shown(&of_dpkg(text)), ["a 1:2-3 amd64", "bare 2 all"]);
        assert_eq!(of_dpkg(""), []);
    }

    #[test]
    fn apk_and_python_are_read() {
        let text = "C:Q1\nP:musl\nV:1.2-r0\nA:x86_64\nF:lib\nR:P:x\n\nP:b\nV:2\n";
        assert_eq!(shown(&of_apk(text)), ["musl 1.2-r0 x86_64", "b 2 "]);
        let text = "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\n\nName: other\n";
        let package = of_python(text).unwrap();
        assert_eq!(package.url(&System::default()), "pkg:pypi/foo-bar@1.0");
        assert_eq!(of_python("prose"), None);
    }

    #[test]
    fn a_package_url_says_what_the_system_is() {
        let system = system("NAME=x\nVERSION_ID=\"12\"\nID=debian\n");
        let package = Package {
            kind: Kind::Deb,
            name: "g++".to_owned(),
            version: "1:2~b".to_owned(),
            architecture: "amd64".to_owned(),
        };
        assert_eq!(
            package.url(&system),
            "pkg:deb/debian/g%2B%2B@1:2~b?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            package.url(&System::default()),
            "pkg:deb/debian/g%2B%2B@1:2~b?arch=amd64"
        );
    }
}
