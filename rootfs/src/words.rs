//! The table of mount option words: what each means to the kernel. Pure.
//! Not its job: putting several words together (that is [`crate::options`]).

use sys::mount::{Attr, Depth, Propagation};

use crate::options::Link;

/// What a word does to a mount's options.
pub(crate) enum Effect {
    On(Attr),
    Off(Attr),
    Atime(Attr),
    AllOn(Attr),
    AllOff(Attr),
    AllAtime(Attr),
    Whole(&'static str),
    NotWhole(&'static str),
    Spread(Propagation, Depth),
    Bind(Depth),
    Remount,
    CopyUp,
    Link(Link),
    Ids(Depth),
    Nothing,
}

use Effect::{
    AllAtime, AllOff, AllOn, Atime, Bind, CopyUp, Ids, Link as OfLinks, NotWhole, Nothing, Off, On,
    Remount, Spread, Whole,
};

const RDONLY: Attr = Attr::MOUNT_ATTR_RDONLY;
const NOSUID: Attr = Attr::MOUNT_ATTR_NOSUID;
const NODEV: Attr = Attr::MOUNT_ATTR_NODEV;
const NOEXEC: Attr = Attr::MOUNT_ATTR_NOEXEC;
const NODIRATIME: Attr = Attr::MOUNT_ATTR_NODIRATIME;
const NOSYMFOLLOW: Attr = Attr::MOUNT_ATTR_NOSYMFOLLOW;
const RELATIME: Attr = Attr::MOUNT_ATTR_RELATIME;
const NOATIME: Attr = Attr::MOUNT_ATTR_NOATIME;
const STRICTATIME: Attr = Attr::MOUNT_ATTR_STRICTATIME;

/// Every word of the runtime spec's table and of runc's, with its meaning.
///
/// `ro` and its like concern one mount, even with `rbind`: what is mounted below stays writable, as the
/// spec and runc have it. `rro` and its like are for the whole tree. `norelatime`, `silent` and `iversion`
/// change nothing: the kernel has no mode without any atime rule, the second is about its log, and the
/// file systems that count changes of a file have no way without it (Linux 6.1).
pub(crate) const WORDS: &[(&str, Effect)] = &[
    ("async", NotWhole("sync")),
    ("atime", Atime(RELATIME)),
    ("bind", Bind(Depth::One)),
    ("copy-symlink", OfLinks(Link::Copy)),
    ("defaults", Nothing),
    ("dest-nofollow", OfLinks(Link::Destination)),
    ("dev", Off(NODEV)),
    ("diratime", Off(NODIRATIME)),
    ("dirsync", Whole("dirsync")),
    ("exec", Off(NOEXEC)),
    ("idmap", Ids(Depth::One)),
    ("lazytime", Whole("lazytime")),
    ("loud", Nothing),
    ("mand", Whole("mand")),
    ("noatime", Atime(NOATIME)),
    ("nodev", On(NODEV)),
    ("nodiratime", On(NODIRATIME)),
    ("noexec", On(NOEXEC)),
    ("noiversion", Nothing),
    ("iversion", Nothing),
    ("nolazytime", NotWhole("lazytime")),
    ("nomand", NotWhole("mand")),
    ("norelatime", Nothing),
    ("nostrictatime", Atime(RELATIME)),
    ("nosuid", On(NOSUID)),
    ("nosymfollow", On(NOSYMFOLLOW)),
    ("private", Spread(Propagation::Private, Depth::One)),
    ("ratime", AllAtime(RELATIME)),
    ("rbind", Bind(Depth::Recursive)),
    ("rdev", AllOff(NODEV)),
    ("rdiratime", AllOff(NODIRATIME)),
    ("relatime", Atime(RELATIME)),
    ("remount", Remount),
    ("rexec", AllOff(NOEXEC)),
    ("ridmap", Ids(Depth::Recursive)),
    ("rnoatime", AllAtime(NOATIME)),
    ("rnodev", AllOn(NODEV)),
    ("rnodiratime", AllOn(NODIRATIME)),
    ("rnoexec", AllOn(NOEXEC)),
    ("rnorelatime", Nothing),
    ("rnostrictatime", AllAtime(RELATIME)),
    ("rnosuid", AllOn(NOSUID)),
    ("rnosymfollow", AllOn(NOSYMFOLLOW)),
    ("ro", On(RDONLY)),
    ("rprivate", Spread(Propagation::Private, Depth::Recursive)),
    ("rrelatime", AllAtime(RELATIME)),
    ("rro", AllOn(RDONLY)),
    ("rrw", AllOff(RDONLY)),
    ("rshared", Spread(Propagation::Shared, Depth::Recursive)),
    ("rslave", Spread(Propagation::Slave, Depth::Recursive)),
    ("rstrictatime", AllAtime(STRICTATIME)),
    ("rsuid", AllOff(NOSUID)),
    ("rsymfollow", AllOff(NOSYMFOLLOW)),
    (
        "runbindable",
        Spread(Propagation::Unbindable, Depth::Recursive),
    ),
    ("rw", Off(RDONLY)),
    ("shared", Spread(Propagation::Shared, Depth::One)),
    ("silent", Nothing),
    ("slave", Spread(Propagation::Slave, Depth::One)),
    ("src-nofollow", OfLinks(Link::Source)),
    ("strictatime", Atime(STRICTATIME)),
    ("suid", Off(NOSUID)),
    ("symfollow", Off(NOSYMFOLLOW)),
    ("sync", Whole("sync")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Spread(Propagation::Unbindable, Depth::One)),
];
