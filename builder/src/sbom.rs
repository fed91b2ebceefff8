//! What an image consists of, as an SPDX 2.3 document: the packages that package managers have noted in its tree. Not
//! its job: what these notes say (`packages`), and where the document goes (`attest`).
//!
//! The tree is nobody's friend: it is walked by fd, no link in it is followed, and notes have a largest size.

use std::fs::File;
use std::io::Read;

use image::{Digest, Predicate};
use serde_json::{Value, json};
use sys::SysError;
use sys::at::FileType;

use crate::commit::timestamp;
use crate::error::{Doing, Error, Result};
use crate::ignore::Ignore;
use crate::packages::{self, Package, System};
use crate::tree::{Item, Part, Tree, Visitor};

/// Larger databases of package managers are refused.
const LARGEST: u64 = 64 << 20;

/// More packages are in no honest image, and no honest name is longer.
const MOST: usize = 100_000;
const LONGEST: usize = 512;

/// So much of a Python package's notes is read; what we want stands first.
const BEGINNING: u64 = 256 * 1024;

/// What was found in a tree.
#[derive(Debug, Default)]
pub(crate) struct Found {
    packages: Vec<Package>,
    system: System,
    /// Databases that we can't read.
    pub(crate) unread: Vec<String>,
}

/// Looks for packages in all of `tree`.
pub(crate) fn scan(tree: &Tree) -> Result<Found> {
    let mut found = Found::default();
    let everything = Part {
        exclude: &Ignore::default(),
        include: None,
    };
    tree.walk("", everything, &mut found)?;
    found.packages.sort();
    found.packages.dedup();
    Ok(found)
}

impl Found {
    /// Takes what a file of that path says, if it says anything.
    fn take(&mut self, item: &Item<'_>, path: &str) -> Result<()> {
        let whole = || read(item, LARGEST).and_then(|text| within(item, text));
        let of_status_d = path
            .strip_prefix("var/lib/dpkg/status.d/")
            .is_some_and(|name| !name.contains('/') && !name.ends_with(".md5sums"));
        match path {
            "var/lib/dpkg/status" => self.add(item, packages::of_dpkg(&whole()?)),
            "lib/apk/db/installed" | "usr/lib/apk/db/installed" => {
                self.add(item, packages::of_apk(&whole()?))
            }
            "etc/os-release" => {
                self.system = packages::system(&read(item, BEGINNING)?);
                Ok(())
            }
            "usr/lib/os-release" if self.system == System::default() => {
                self.system = packages::system(&read(item, BEGINNING)?);
                Ok(())
            }
            _ if of_status_d => self.add(item, packages::of_dpkg(&whole()?)),
            _ if path.ends_with(".dist-info/METADATA") => {
                let text = read(item, BEGINNING)?;
                self.add(item, packages::of_python(&text))
            }
            _ if is_rpm(path) => {
                self.unread.push(path.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes packages, within bounds: a hostile image must not fill our memory.
    fn add(&mut self, item: &Item<'_>, found: impl IntoIterator<Item = Package>) -> Result<()> {
        for package in found {
            let refuse =
                |what: String| Err(Error::Refused(format!("--sbom: {}: {what}", item.shown())));
            if package.longest() > LONGEST {
                return refuse(format!("a name or version is longer than {LONGEST} bytes"));
            }
            if self.packages.len() >= MOST {
                return refuse(format!("more than {MOST} packages"));
            }
            self.packages.push(package);
        }
        Ok(())
    }
}

/// Whether a file is a database of rpm, in any of its forms and places.
fn is_rpm(path: &str) -> bool {
    let places = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];
    let names = ["rpmdb.sqlite", "Packages", "Packages.db"];
    places
        .iter()
        .filter_map(|place| path.strip_prefix(place))
        .any(|name| names.contains(&name))
}

impl Visitor for Found {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        match (item.kind(), std::str::from_utf8(item.path)) {
            (FileType::RegularFile, Ok(path)) => self.take(item, path.trim_start_matches('/')),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, _: &Item<'_>) -> Result<()> {
        Ok(())
    }
}

/// A file's beginning as text: `most` bytes and one more.
fn read(item: &Item<'_>, most: u64) -> Result<String> {
    let doing = || format!("read {}", item.shown());
    let mut bytes = Vec::new();
    File::from(item.open().doing(doing)?)
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| SysError::from_io("read", item.shown(), &e))
        .doing(doing)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A database must be there whole.
fn within(item: &Item<'_>, text: String) -> Result<String> {
    match item.size().is_some_and(|size| size <= LARGEST) {
        true => Ok(text),
        false => Err(Error::Refused(format!(
            "--sbom: {} is larger than {LARGEST} bytes",
            item.shown()
        ))),
    }
}

/// The document of the image `id`, of a time in seconds since 1970.
pub(crate) fn predicate(found: &Found, id: Digest, epoch: i64) -> Predicate {
    let unknown = "NOASSERTION";
    let mut elements = vec![json!({
        "name": "image",
        "SPDXID": "SPDXRef-Image",
        "versionInfo": id,
        "downloadLocation": unknown,
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    for (n, package) in found.packages.iter().enumerate() {
        let name = format!("SPDXRef-Package-{n}");
        elements.push(json!({
            "name": package.name,
            "SPDXID": name,
            "versionInfo": package.version,
            "downloadLocation": unknown,
            "filesAnalyzed": false,
            "licenseConcluded": unknown,
            "licenseDeclared": unknown,
            "copyrightText": unknown,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.url(&found.system),
            }],
        }));
        relations.push(relation("SPDXRef-Image", "CONTAINS", &name));
    }
    let mut body = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "image",
        "documentNamespace": format!("https://spdx.org/spdxdocs/dhow-{}", id.hex()),
        "creationInfo": {
            "created": timestamp(epoch),
            "creators": [concat!("Tool: dhow-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": elements,
        "relationships": relations,
    });
    if !found.unread.is_empty() {
        let names = found.unread.join(", ");
        body["comment"] = json!(format!("rpm's packages are not among these: {names}"));
    }
    Predicate {
        kind: "https://spdx.dev/Document".to_owned(),
        body,
    }
}

fn relation(of: &str, kind: &str, to: &str) -> Value {
    json!({
        "spdxElementId": of,
        "relationshipType": kind,
        "relatedSpdxElement": to,
    })
}
