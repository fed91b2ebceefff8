//! The names of units: linux.cgroupsPath in the form `slice:prefix:name`, and where a slice lies in the tree.
//! Pure. Not its job: asking systemd for them.

use std::path::PathBuf;

use super::Whose;
use crate::{Error, Result};

/// No unit's name is longer.
const MAX_NAME: usize = 255;

/// A container's scope and the slice that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) scope: String,
    pub(super) slice: String,
}

/// The names that linux.cgroupsPath gives the container `id`. An empty slice is system.slice, or user.slice
/// of a user's systemd.
///
/// # Errors
/// [`Error::Spec`] for what is not of that form or holds what no name of a unit may.
pub(super) fn names(cgroups_path: Option<&str>, id: &str, whose: Whose) -> Result<Names> {
    let default = match whose {
        Whose::System => "system.slice",
        Whose::User => "user.slice",
    };
    let path = cgroups_path.unwrap_or_default();
    let refuse = |reason: String| {
        Err(Error::spec(
            "linux.cgroupsPath",
            format!("{path:?} {reason}"),
        ))
    };
    let parts: Vec<&str> = path.split(':').collect();
    let (slice, prefix, name) = match parts[..] {
        [""] => ("", "dhow", id),
        [slice, prefix, name] if !name.is_empty() => (slice, prefix, name),
        _ => {
            return refuse(
                "is not slice:prefix:name, the form that --cgroup-manager systemd needs".to_owned(),
            );
        }
    };
    let slice = match slice {
        "" => default,
        slice => slice,
    };
    if let Err(reason) = expand(slice) {
        return refuse(reason);
    }
    if name.ends_with(".slice") {
        return refuse("names a slice, and a container lives in a scope".to_owned());
    }
    // Callers of runc look for this name.
    let scope = format!("{prefix}-{name}.scope");
    if !is_name(&scope) {
        return refuse(format!(
            "gives the unit {scope:?}: names have letters, digits and : - _ . \\ only, 255 at most"
        ));
    }
    Ok(Names {
        scope,
        slice: slice.to_owned(),
    })
}

/// Where a slice lies below the tree of its systemd: `a-b.slice` is in `a.slice`, and `-.slice` is the root.
pub(super) fn expand(slice: &str) -> Result<PathBuf, String> {
    let stem = slice
        .strip_suffix(".slice")
        .filter(|stem| !stem.is_empty() && is_name(slice))
        .ok_or_else(|| format!("has {slice:?}, which is no name of a slice"))?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Ok(path);
    }
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(format!(
                "has {slice:?}, with nothing before or between dashes"
            ));
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push(format!("{name}.slice"));
    }
    Ok(path)
}

fn is_name(name: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    name.len() <= MAX_NAME && name.chars().all(is_good) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(path: Option<&str>, whose: Whose) -> Result<(String, String), String> {
        names(path, "box", whose)
            .map(|names| (names.slice, names.scope))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn three_parts_are_slice_prefix_and_name() {
        let table = [
            (None, "system.slice", "dhow-box.scope"),
            (Some(""), "system.slice", "dhow-box.scope"),
            (Some("a-b.slice:cri:x"), "a-b.slice", "cri-x.scope"),
            (Some(":libpod:x"), "system.slice", "libpod-x.scope"),
            (Some("::x"), "system.slice", "-x.scope"),
            (Some("-.slice:p:x"), "-.slice", "p-x.scope"),
        ];
        for (path, slice, scope) in table {
            let expected = Ok((slice.to_owned(), scope.to_owned()));
            assert_eq!(both(path, Whose::System), expected, "{path:?}");
        }
        let user = both(None, Whose::User).unwrap();
        assert_eq!(user.0, "user.slice");
    }

    #[test]
    fn what_is_no_name_is_refused_by_name() {
        for path in [
            "/a/b",
            "a:b",
            "a:b:c:d",
            "a.slice:b:",
            "a:b:c",
            "a/../b.slice:p:x",
            "..slice:p:x",
            ".slice:p:x",
            "a--b.slice:p:x",
            "-a.slice:p:x",
            "a.slice:p:../x",
            "a.slice:p:x\n",
            "a.slice:p/q:x",
            "a.slice:p:y.slice",
        ] {
            let error = both(Some(path), Whose::System).unwrap_err();
            assert!(error.starts_with("linux.cgroupsPath: "), "{path}: {error}");
        }
        let long = format!("a.slice:p:{}", "x".repeat(250));
        assert!(both(Some(&long), Whose::System).is_err());
    }

    #[test]
    fn a_slice_lies_in_those_that_its_name_begins_with() {
        assert_eq!(
            expand("a-b-c.slice"),
            Ok("a.slice/a-b.slice/a-b-c.slice".into())
        );
        assert_eq!(expand("-.slice"), Ok(PathBuf::new()));
    }
}
