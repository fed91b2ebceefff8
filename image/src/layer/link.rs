//! Where a symbolic link of a layer leads, within the root. Not its job: what is there, which the trees know (`tree.rs`,
//! `erofs/tree.rs`).

use super::path::LayerPath;
use crate::{Error, Result};

/// Links followed in one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// Counts the link `name` in the directory `place`, after `links` others.
pub(crate) fn one_more(links: u32, place: &LayerPath, name: &[u8]) -> Result<u32> {
    match links >= MAX_LINKS {
        true => Err(Error::refused(
            format!("directory {}", place.join(name)),
            "too many links",
        )),
        false => Ok(links + 1),
    }
}

/// Goes through the names of `target`, that of a link in the directory `place`, and gives where that ends. `step` goes from
/// a directory into a name in it, and says where that really is.
pub(crate) fn through<E>(
    target: &[u8],
    place: &LayerPath,
    mut step: impl FnMut(&LayerPath, &[u8]) -> Result<LayerPath, E>,
) -> Result<LayerPath, E> {
    let mut here = match target.starts_with(b"/") {
        true => LayerPath::ROOT,
        false => place.clone(),
    };
    for name in target.split(|b| *b == b'/') {
        here = match name {
            b"" | b"." => continue,
            b".." => here.split().map_or(LayerPath::ROOT, |(parent, _)| parent),
            name => step(&here, name)?,
        };
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_below_the_root() {
        let end = |target: &str, place: &str| {
            let place = LayerPath::parse(place.as_bytes()).unwrap();
            let step = |here: &LayerPath, name: &[u8]| Ok::<_, Error>(here.join(name));
            let end = through(target.as_bytes(), &place, step).unwrap();
            String::from_utf8(end.bytes().to_vec()).unwrap()
        };
        assert_eq!(end("c/./d", "a/b"), "a/b/c/d");
        assert_eq!(end("../c", "a/b"), "a/c");
        assert_eq!(end("/c//d", "a/b"), "c/d");
        assert_eq!(end("../../../../c", "a/b"), "c");
    }

    #[test]
    fn links_are_counted() {
        assert!(one_more(39, &LayerPath::ROOT, b"x").is_ok());
        assert!(one_more(40, &LayerPath::ROOT, b"x").is_err());
    }
}
