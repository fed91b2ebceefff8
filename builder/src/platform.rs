//! Platforms as images name them: `linux/amd64`, `linux/arm/v7`. Not its job: what runs here (`emulation`).

/// An operating system and a kind of processor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v7`, where the architecture has several.
    pub variant: String,
}

const SYSTEMS: [&str; 14] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// This machine's architecture in an image's words.
pub(crate) fn native() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

impl Platform {
    /// This machine's.
    pub fn here() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: native().to_owned(),
            variant: String::new(),
        }
    }

    /// The same in the words of the store.
    ///
    /// # Errors
    /// If no image can be for it.
    pub(crate) fn of_images(&self) -> image::Result<image::Platform> {
        self.to_string().parse()
    }

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`, other names of the same
    /// taken.
    ///
    /// # Errors
    /// Says what is no platform.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.()".contains(c);
            !part.is_empty() && part.chars().all(allowed)
        };
        if parts.len() > 3 || !parts.iter().all(plain) {
            return Err(format!("{text:?} is no platform (as linux/amd64)"));
        }
        let here = Self::here();
        let (os, architecture, variant) = match parts.as_slice() {
            [one] => {
                let lower = system(one);
                if SYSTEMS.contains(&lower.as_str()) {
                    (lower, here.architecture, String::new())
                } else {
                    let (architecture, variant) = architecture(one, "");
                    if !ARCHITECTURES.contains(&architecture.as_str()) {
                        return Err(format!(
                            "{text:?}: unknown operating system or architecture"
                        ));
                    }
                    (here.os, architecture, variant)
                }
            }
            [os, rest @ ..] => {
                let variant = rest.get(1).copied().unwrap_or("");
                let (architecture, variant) = architecture(rest[0], variant);
                (system(os), architecture, variant)
            }
            [] => return Err("a platform is empty".to_owned()),
        };
        Ok(Self {
            os,
            architecture,
            variant,
        })
    }
}

fn system(text: &str) -> String {
    match text.to_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

/// An architecture's own name and variant.
fn architecture(name: &str, variant: &str) -> (String, String) {
    let (name, variant) = (name.to_lowercase(), variant.to_lowercase());
    let (name, variant) = match (name.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (name, variant) => (name, variant),
    };
    (name.to_owned(), variant.to_owned())
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_of_a_platform_are_the_same() {
        for (text, same) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("armel", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), same, "{text}");
        }
        assert_eq!(Platform::parse("linux").unwrap(), Platform::here());
    }

    #[test]
    fn what_is_no_platform_is_said() {
        for bad in ["", "what", "a/b/c/d", "linux/*", "linux/"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }
}
