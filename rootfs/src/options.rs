//! A mount's option words, put together. Pure.
//! Not its job: what one word means (that is the table in `words`), and making mounts.
//!
//! Later words win over earlier ones (`ro,rw` is `rw`), as in mount(8). A word that is not in the table
//! belongs to the file system and is handed to it as it stands (`size=64m`).

use sys::mount::{Attr, Depth, Propagation};

use crate::words::{Effect, WORDS};

/// The words that a mount may have, but for those of the file systems' own.
pub fn known() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

/// Whether a word changes the attributes of a mount and of all below it.
pub fn is_recursive_attribute(word: &str) -> bool {
    WORDS.iter().any(|(known, effect)| {
        *known == word
            && matches!(
                effect,
                Effect::AllOn(_) | Effect::AllOff(_) | Effect::AllAtime(_)
            )
    })
}

/// A change of mount attributes: MOUNT_ATTR_* bits (mount_setattr(2)). What is in neither stays as it is,
/// so a bind mount keeps the `nosuid` or `nodev` of its source unless a word takes it away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Bits to add.
    pub set: u64,
    /// Bits to take away; the atime group is always taken away as a whole.
    pub clear: u64,
}

impl AttrChange {
    fn on(&mut self, attr: Attr) {
        self.set |= bits(attr);
        self.clear &= !bits(attr);
    }

    fn off(&mut self, attr: Attr) {
        self.set &= !bits(attr);
        self.clear |= bits(attr);
    }

    /// The atime modes are values, not bits: one replaces the other, and relatime is 0.
    fn atime(&mut self, mode: Attr) {
        let group = bits(Attr::MOUNT_ATTR__ATIME);
        self.set = self.set & !group | bits(mode);
        self.clear |= group;
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

fn bits(attr: Attr) -> u64 {
    u64::from(attr.bits())
}

/// What is to be done with a link where one is found (crun's words, which podman uses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// `copy-symlink`: a source that is a link is made anew at the destination, not followed.
    Copy,
    /// `src-nofollow`: a source that is a link is mounted itself.
    Source,
    /// `dest-nofollow`: a destination that is a link is covered itself.
    Destination,
}

/// That a mount shows its files with other ids than they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapped {
    /// `ridmap` is for all that is mounted below, too.
    pub depth: Depth,
    /// What follows `idmap=`, as crun and podman write it: `uids=0-1-10#10-11-10;gids=0-100-10`.
    pub words: Option<String>,
}

/// An option of the file system itself: `size=64m`, `newinstance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Its name.
    pub key: String,
    /// What follows the first `=`.
    pub value: Option<String>,
}

/// A mount's option words, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Attributes of this mount alone.
    pub attr: AttrChange,
    /// Attributes of this mount and all below it (`rro`).
    pub recursive: AttrChange,
    /// Changes of propagation, in order.
    pub propagation: Vec<(Propagation, Depth)>,
    /// `bind` or `rbind`.
    pub bind: Option<Depth>,
    /// `remount`: change the mount that is there.
    pub remount: bool,
    /// `tmpcopyup`: a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// The ways with links that differ from following them.
    pub links: Vec<Link>,
    /// `idmap` or `ridmap`.
    pub ids: Option<IdMapped>,
    /// Words for the file system as a whole (`sync`, `lazytime`), as fsconfig(2) knows them.
    pub whole: Vec<&'static str>,
    /// Words of the file system's own.
    pub data: Vec<Data>,
    /// All words as they were given, but `bind`, `rbind` and `remount`: for people to read.
    pub words: Vec<String>,
}

impl MountOptions {
    /// Understands `words`; every word means something, if only to the file system.
    pub fn parse<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Self {
        let mut options = Self::default();
        for word in words {
            let word = word.as_ref();
            match WORDS.iter().find(|(name, _)| *name == word) {
                Some((_, effect)) => options.apply(effect),
                None if word.is_empty() => continue,
                None => options.own(word),
            }
            if !matches!(word, "bind" | "rbind" | "remount") {
                options.words.push(word.to_owned());
            }
        }
        options
    }

    /// The value of the file system's own option `key`, the last one given.
    pub fn value(&self, key: &str) -> Option<&str> {
        let found = self.data.iter().rev().find(|data| data.key == key)?;
        found.value.as_deref()
    }

    /// A word that is not in the table: the file system's own, but for crun's `idmap=`.
    fn own(&mut self, word: &str) {
        let depth = |key| match key {
            "idmap" => Some(Depth::One),
            "ridmap" => Some(Depth::Recursive),
            _ => None,
        };
        let mapped = word.split_once('=').and_then(|(key, maps)| {
            depth(key).map(|depth| IdMapped {
                depth,
                words: Some(maps.to_owned()),
            })
        });
        match mapped {
            Some(mapped) => self.ids = Some(mapped),
            None => self.data.push(data(word)),
        }
    }

    /// Whether `ro` is wanted.
    pub(crate) fn is_read_only(&self) -> bool {
        self.attr.set & bits(Attr::MOUNT_ATTR_RDONLY) != 0
    }

    /// Makes the whole tree read-only.
    pub(crate) fn read_only_all(&mut self) {
        self.attr.on(Attr::MOUNT_ATTR_RDONLY);
        self.recursive.on(Attr::MOUNT_ATTR_RDONLY);
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::On(attr) => self.attr.on(*attr),
            Effect::Off(attr) => self.attr.off(*attr),
            Effect::Atime(mode) => self.attr.atime(*mode),
            Effect::AllOn(attr) => self.recursive.on(*attr),
            Effect::AllOff(attr) => self.recursive.off(*attr),
            Effect::AllAtime(mode) => self.recursive.atime(*mode),
            Effect::Whole(flag) => {
                self.whole.retain(|known| known != flag);
                self.whole.push(flag);
            }
            Effect::NotWhole(flag) => self.whole.retain(|known| known != flag),
            Effect::Spread(propagation, depth) => self.propagation.push((*propagation, *depth)),
            Effect::Bind(depth) => self.bind = Some(*depth),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::Ids(depth) => {
                self.ids = Some(IdMapped {
                    depth: *depth,
                    words: None,
                });
            }
            Effect::Link(link) => self.links.push(*link),
            Effect::Nothing => {}
        }
    }
}

fn data(word: &str) -> Data {
    match word.split_once('=') {
        Some((key, value)) => Data {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        },
        None => Data {
            key: word.to_owned(),
            value: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> MountOptions {
        MountOptions::parse(words)
    }

    /// word | set | clear | set below | clear below: the kernel's numbers from linux/mount.h.
    #[test]
    fn each_attribute_word_has_the_kernels_bits() {
        let table = include_str!("../tests/data/attribute-words");
        for line in table
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let number = |i: usize| u64::from_str_radix(fields[i], 16).unwrap();
            let options = parse(&[fields[0]]);
            let attr = AttrChange {
                set: number(1),
                clear: number(2),
            };
            let below = AttrChange {
                set: number(3),
                clear: number(4),
            };
            assert_eq!((options.attr, options.recursive), (attr, below), "{line}");
            assert!(options.data.is_empty(), "{line}");
        }
    }

    #[test]
    fn every_word_is_in_the_table_once() {
        for (index, (name, _)) in WORDS.iter().enumerate() {
            assert!(WORDS[..index].iter().all(|(n, _)| n != name), "{name}");
        }
    }

    #[test]
    fn the_later_word_wins() {
        assert_eq!(parse(&["ro", "rw"]).attr, AttrChange { set: 0, clear: 1 });
        assert_eq!(parse(&["rw", "ro"]).attr, AttrChange { set: 1, clear: 0 });
        let atime = parse(&["noatime", "strictatime", "nodev"]).attr;
        assert_eq!(
            atime,
            AttrChange {
                set: 0x24,
                clear: 0x70
            }
        );
        assert!(parse(&["sync", "async"]).whole.is_empty());
        assert_eq!(
            parse(&["bind", "rbind"]).bind,
            Some(Depth::Recursive),
            "rbind after bind"
        );
    }

    #[test]
    fn unknown_words_are_the_file_systems_and_keep_their_commas() {
        let options = parse(&["size=64m", "newinstance", "", "context=\"a:c1,c2\""]);
        assert_eq!(options.value("size"), Some("64m"));
        assert_eq!(options.value("context"), Some("\"a:c1,c2\""));
        assert_eq!(options.data.len(), 3);
        assert_eq!(options.data[1].value, None);
    }

    #[test]
    fn maps_of_ids_may_follow_the_word() {
        let mapped = |words: &[&str]| parse(words).ids.map(|ids| (ids.depth, ids.words));
        assert_eq!(mapped(&["ro"]), None);
        assert_eq!(mapped(&["ridmap"]), Some((Depth::Recursive, None)));
        let words = "uids=0-1-10;gids=0-1-10".to_owned();
        let options = ["idmap=uids=0-1-10;gids=0-1-10"];
        assert_eq!(mapped(&options), Some((Depth::One, Some(words))));
    }

    #[test]
    fn propagation_words_are_kept_in_order() {
        let options = parse(&["rslave", "shared"]);
        assert_eq!(
            options.propagation,
            [
                (Propagation::Slave, Depth::Recursive),
                (Propagation::Shared, Depth::One)
            ]
        );
    }
}
