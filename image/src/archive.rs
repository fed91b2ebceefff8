//! A tar whose members are looked up by name: read once for its headers, then from any place.
//! Not its job: what the members are to an image.

use std::collections::HashMap;

use crate::layer::entry::{Entries, Kind, Limits};
use crate::layer::path::LayerPath;
use crate::source::Window;
use crate::{Error, Result};

/// Members of an archive at most: an image of 500 layers has about 2,000.
const MAX_MEMBERS: u64 = 100_000;

/// Links followed from one member to another.
const MAX_LINKS: usize = 8;

/// Members by name.
#[derive(Debug)]
pub(crate) struct Archive {
    members: HashMap<LayerPath, Member>,
}

#[derive(Debug)]
enum Member {
    File(Window),
    /// docker save of old: layers that stand elsewhere in the archive already.
    Link(LayerPath),
    /// Nothing that could be read.
    Other,
}

impl Archive {
    /// Reads all headers. A name that stands twice for two things is refused: readers differ on which
    /// of the two counts.
    pub(crate) fn index(tar: Window) -> Result<Self> {
        let limits = Limits {
            entries: MAX_MEMBERS,
            bytes: u64::MAX >> 1,
        };
        let mut entries = Entries::new(tar.clone(), limits);
        let mut members = HashMap::new();
        while let Some(entry) = entries.next()? {
            let what = || format!("member {}", entry.path);
            if entry.sparse.is_some() {
                // A part of the archive is not the file's bytes.
                return Err(Error::refused(
                    what(),
                    "a sparse file within an image archive",
                ));
            }
            let member = match entry.kind {
                Kind::File { size } => Member::File(
                    tar.part(entries.offset(), size)
                        .ok_or_else(|| Error::refused(what(), "it is cut short"))?,
                ),
                Kind::Symlink { ref target } => Member::Link(
                    beside(&entry.path, target).map_err(|rule| Error::refused(what(), rule))?,
                ),
                Kind::HardLink { ref target } => Member::Link(target.clone()),
                Kind::Directory => Member::Other,
                _ => return Err(Error::refused(what(), "neither file, directory nor link")),
            };
            let is_other = matches!(member, Member::Other);
            let what = what();
            match members.insert(entry.path, member) {
                None => {}
                Some(Member::Other) if is_other => {}
                Some(_) => return Err(Error::refused(what, "it stands twice in the archive")),
            }
        }
        Ok(Self { members })
    }

    /// The member `name`; `None` if there is none that can be read.
    pub(crate) fn find(&self, name: &[u8]) -> Result<Option<Window>> {
        let refuse =
            |rule| Error::refused(format!("member {:?}", String::from_utf8_lossy(name)), rule);
        let mut path = LayerPath::parse(name).map_err(refuse)?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&path) {
                Some(Member::File(window)) => return Ok(Some(window.clone())),
                Some(Member::Link(target)) => path = target.clone(),
                Some(Member::Other) | None => return Ok(None),
            }
        }
        Err(refuse("it links in circles".to_owned()))
    }
}

/// Where a link beside `path` leads, within the archive.
fn beside(path: &LayerPath, target: &[u8]) -> Result<LayerPath, String> {
    if target.starts_with(b"/") {
        return Err("it links out of the archive".to_owned());
    }
    let mut here = path.split().map_or(LayerPath::ROOT, |(parent, _)| parent);
    for name in target.split(|b| *b == b'/') {
        here = match name {
            b"" | b"." => here,
            b".." => match here.split() {
                Some((parent, _)) => parent,
                None => return Err("it links out of the archive".to_owned()),
            },
            name => here.join(name),
        };
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_members_alone() {
        let path = |text: &str| LayerPath::parse(text.as_bytes()).unwrap();
        let layer = path("abc/layer.tar");
        assert_eq!(
            beside(&layer, b"../def/layer.tar"),
            Ok(path("def/layer.tar"))
        );
        assert_eq!(beside(&layer, b"./x"), Ok(path("abc/x")));
        assert!(beside(&layer, b"/etc/passwd").is_err());
        assert!(beside(&layer, b"../../etc/passwd").is_err());
    }
}
