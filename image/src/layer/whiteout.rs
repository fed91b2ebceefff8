//! `.wh.` names of layer tars ↔ what overlay takes for a whiteout or an opaque directory.
//! Not its job: creating either.

use super::header::Rule;
use super::path::LayerPath;

const PREFIX: &[u8] = b".wh.";
/// The marker of an opaque directory, in that directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself; image-spec layer.md: never of use to others.
const AUFS: &[u8] = b".wh..wh.";

/// What a name in a layer tar says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker<'a> {
    /// A file like any other.
    Plain,
    /// The name is removed from the layers below.
    Whiteout(&'a [u8]),
    /// Nothing of the layers below shows in this directory.
    Opaque,
    /// Left over from aufs: to be passed over.
    Ignored,
}

/// Reads the marker in `path`'s last name.
pub(crate) fn marker(path: &LayerPath) -> Result<Marker<'_>, Rule> {
    let mut last: &[u8] = b"";
    for name in path.names() {
        if last.starts_with(PREFIX) {
            return Err("a whiteout has nothing below it".to_owned());
        }
        if name.starts_with(AUFS) && name != OPAQUE {
            return Ok(Marker::Ignored);
        }
        last = name;
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Marker::Plain),
        Some(_) if last == OPAQUE => Ok(Marker::Opaque),
        Some(b"" | b"." | b"..") => Err("a whiteout of no name".to_owned()),
        Some(name) => Ok(Marker::Whiteout(name)),
    }
}

/// The tar's name for the removal of `name`.
pub(crate) fn whiteout_name(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// Whether a real file's name would be taken for a marker: no layer can carry it.
pub(crate) fn is_marker(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// Which extended attributes overlay reads on this mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverlayXattrs {
    /// `trusted.overlay.*`: real root.
    Trusted,
    /// `user.overlay.*`: an overlay mounted with `userxattr`, in a user namespace.
    User,
}

impl OverlayXattrs {
    /// The attribute that makes a directory opaque (value `y`).
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Whether the attribute is overlay's own, under either name.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_mark() {
        let table: &[(&str, Result<Marker<'_>, ()>)] = &[
            ("a/b", Ok(Marker::Plain)),
            ("a/.whale", Ok(Marker::Plain)),
            ("a/.wh.b", Ok(Marker::Whiteout(b"b"))),
            ("a/.wh..b", Ok(Marker::Whiteout(b".b"))),
            ("a/.wh..wh..opq", Ok(Marker::Opaque)),
            (".wh..wh..opq", Ok(Marker::Opaque)),
            (".wh..wh.plnk/1.2", Ok(Marker::Ignored)),
            (".wh..wh.aufs", Ok(Marker::Ignored)),
            (".wh.", Err(())),
            ("a/.wh..", Err(())),
            ("a/.wh...", Err(())),
            ("a/.wh.b/c", Err(())),
            ("a/.wh..wh..opq/c", Err(())),
        ];
        for (path, expected) in table {
            let path = LayerPath::parse(path.as_bytes()).unwrap();
            assert_eq!(marker(&path).map_err(|_| ()), *expected, "{path}");
        }
    }
}
