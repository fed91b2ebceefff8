//! Whose ids the files of an id-mapped mount have: the mount's own maps, crun's words for them, or those
//! of the container. Pure, but for `hold`, which makes them something that the kernel takes.
//! Not its job: the mount.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Mount;
use sys::SysError;
use sys::at::{Mode, OFlags};
use sys::process::{CloneRequest, Cloned, Pid};

use crate::user::Range;
use crate::{Error, IdMap, IdMaps, Join, Namespace, NamespaceSet, Result};

/// Where the ids of a mount come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountIds {
    /// These maps.
    Maps(IdMaps),
    /// The existing user namespace that the container joins.
    Joined(Join),
}

impl MountIds {
    /// The ids of the spec's `mounts[index]`, of which it is known that it is to be id-mapped. `words` is
    /// what follows `idmap=`, if anything does.
    ///
    /// # Errors
    /// [`Error::Spec`]: only one kind of ids is mapped, a range is impossible, or there are no maps at all.
    pub fn of(
        index: usize,
        mount: &Mount,
        words: Option<&str>,
        set: &NamespaceSet,
    ) -> Result<Self> {
        let field = |name: &str| format!("mounts[{index}].{name}");
        if let Some(words) = words {
            return from_words(words, set.id_maps.as_ref())
                .map_err(|reason| {
                    Error::spec(field("options"), format!("`idmap={words}`: {reason}"))
                })
                .map(Self::Maps);
        }
        let uid = mount.uid_mappings().as_deref().unwrap_or_default();
        let gid = mount.gid_mappings().as_deref().unwrap_or_default();
        let mut problems = Vec::new();
        let maps = match (uid, gid) {
            ([], []) => return of_container(set, &field("options")),
            ([], _) => return Err(half(&field("uidMappings"), "gidMappings")),
            (_, []) => return Err(half(&field("gidMappings"), "uidMappings")),
            (uid, gid) => IdMaps {
                uid: IdMap::read(&field("uidMappings"), uid, &mut problems),
                gid: IdMap::read(&field("gidMappings"), gid, &mut problems),
            },
        };
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(Self::Maps(maps)),
        }
    }

    /// A user namespace with these ids, as an fd that mount_setattr(2) takes.
    ///
    /// # Errors
    /// As [`Join::open`]; [`Error::IdMap`], [`Error::Holder`].
    pub fn open(&self) -> Result<OwnedFd> {
        match self {
            Self::Maps(maps) => hold(maps),
            Self::Joined(join) => join.open().map(|opened| opened.fd),
        }
    }
}

fn half(field: &str, other: &str) -> Error {
    Error::spec(field, format!("missing, though {other} is given"))
}

fn of_container(set: &NamespaceSet, field: &str) -> Result<MountIds> {
    if let Some(maps) = &set.id_maps {
        return Ok(MountIds::Maps(maps.clone()));
    }
    match set.joins(Namespace::User) {
        Some(join) => Ok(MountIds::Joined(join.clone())),
        None => Err(Error::spec(
            field,
            "`idmap`: there are no uidMappings and gidMappings, and the container has no user namespace",
        )),
    }
}

/// crun's words: `uids=` and `gids=`, `;` between; ranges with `#` between, each the first id on the file
/// system, the first id on the host and the count. A range with `@` gives the second as the container
/// sees it.
fn from_words(words: &str, container: Option<&IdMaps>) -> Result<IdMaps, String> {
    let mut maps = IdMaps::default();
    for part in words.split(';').filter(|part| !part.is_empty()) {
        let (map, ranges, seen) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut maps.uid, ranges, container.map(|maps| &maps.uid)),
            Some(("gids", ranges)) => (&mut maps.gid, ranges, container.map(|maps| &maps.gid)),
            _ => return Err(format!("`{part}` begins with neither uids= nor gids=")),
        };
        for range in ranges.split('#') {
            map.ranges.extend(ranges_of(range, seen)?);
        }
    }
    for (name, map) in [("uids", &maps.uid), ("gids", &maps.gid)] {
        if map.ranges.is_empty() {
            return Err(format!("{name}= is missing"));
        }
        if let Some(reason) = map.fault() {
            return Err(format!("{name}: {reason}"));
        }
    }
    Ok(maps)
}

/// One range of crun's words; several where the container's own map cuts it.
fn ranges_of(text: &str, container: Option<&IdMap>) -> Result<Vec<Range>, String> {
    let (relative, numbers) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut numbers = numbers.split('-').map(str::parse::<u32>);
    let range = match (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) {
        (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(size)), None) => Range {
            inside,
            outside,
            size,
        },
        _ => return Err(format!("`{text}` is not three numbers with `-` between")),
    };
    if !relative {
        return Ok(vec![range]);
    }
    let container = container
        .ok_or_else(|| format!("`{text}`: the container makes no user namespace of its own"))?;
    container
        .translate(&range)
        .ok_or_else(|| format!("`{text}`: the container has no such ids"))
}

/// Makes a user namespace in which nobody lives but a process that ends at once: what is open of it keeps it.
fn hold(maps: &IdMaps) -> Result<OwnedFd> {
    let holder = |source| Error::Holder { source };
    let (ours, theirs) = sys::socket::pair().map_err(holder)?;
    let request = CloneRequest {
        namespaces: Namespace::User.flag(),
        ..CloneRequest::default()
    };
    match sys::process::clone(&request).map_err(holder)? {
        Cloned::Child => {
            // Until the other end is closed, by the parent's will or by its death.
            drop(ours);
            let _closed = sys::socket::receive(&theirs, &mut [0]);
            sys::process::exit(0)
        }
        Cloned::Parent(process) => {
            drop(theirs);
            let made = match maps.write(process.pid) {
                Err(Error::IdMap { source, .. }) => Err(holder(source)),
                result => result,
            };
            let made = made.and_then(|()| namespace_of(process.pid).map_err(holder));
            drop(ours);
            sys::process::wait(&process.pidfd).map_err(holder)?;
            made
        }
    }
}

fn namespace_of(pid: Pid) -> Result<OwnedFd, SysError> {
    let path = format!("{}/ns/user", pid.as_raw_nonzero());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // Below our own procfs, whose links nobody can have mounted over.
    sys::at::openat(sys::proc::handle()?, path.as_str(), flags, Mode::empty())
        .map_err(|errno| SysError::new("open", format_args!("/proc/{path}"), errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::tests::from_json;

    fn ids(mount: &str, words: Option<&str>, linux: &str) -> Result<MountIds, String> {
        let spec = format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#);
        let set = NamespaceSet::from_spec(&from_json(&spec)).unwrap();
        let mount: Mount = from_json(mount);
        MountIds::of(2, &mount, words, &set).map_err(|e| e.to_string())
    }

    const PLAIN: &str = r#"{"namespaces":[{"type":"mount"}]}"#;
    const OWN_USERS: &str = r#"{"namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":0,"size":1},{"containerID":1,"hostID":2,"size":1000}],
        "gidMappings":[{"containerID":0,"hostID":500,"size":10}]}"#;
    const BARE: &str = r#"{"destination":"/x"}"#;

    fn text(ids: Result<MountIds, String>) -> String {
        match ids {
            Ok(MountIds::Maps(maps)) => format!("{}/{}", maps.uid, maps.gid).replace('\n', ";"),
            Ok(MountIds::Joined(join)) => join.path.display().to_string(),
            Err(reason) => reason,
        }
    }

    #[test]
    fn the_mounts_own_maps_come_before_the_containers() {
        let own = r#"{"destination":"/x","uidMappings":[{"containerID":1,"hostID":2,"size":3}],
            "gidMappings":[{"containerID":4,"hostID":5,"size":6}]}"#;
        assert_eq!(text(ids(own, None, OWN_USERS)), "1 2 3;/4 5 6;");
        assert_eq!(
            text(ids(BARE, None, OWN_USERS)),
            "0 0 1;1 2 1000;/0 500 10;"
        );
        let joins = r#"{"namespaces":[{"type":"user","path":"/run/u"}]}"#;
        assert_eq!(text(ids(BARE, None, joins)), "/run/u");
    }

    #[test]
    fn maps_that_are_missing_or_impossible_are_named() {
        let half = r#"{"destination":"/x","uidMappings":[{"containerID":1,"hostID":2,"size":3}]}"#;
        let over = r#"{"destination":"/x","uidMappings":[{"containerID":0,"hostID":4294967295,"size":2}],
            "gidMappings":[{"containerID":4,"hostID":5,"size":6}]}"#;
        let table = [
            (
                BARE,
                "mounts[2].options: `idmap`: there are no uidMappings and gidMappings, and the container has no user namespace",
            ),
            (
                half,
                "mounts[2].gidMappings: missing, though uidMappings is given",
            ),
            (
                over,
                "mounts[2].uidMappings[0].hostID: 2 ids from 4294967295 on pass the last id, 4294967294",
            ),
        ];
        for (mount, reason) in table {
            assert_eq!(text(ids(mount, None, PLAIN)), reason);
        }
    }

    #[test]
    fn cruns_words_are_absolute_or_as_the_container_sees_them() {
        let table = [
            (
                "uids=0-1-10#10-11-10;gids=0-100-10",
                "0 1 10;10 11 10;/0 100 10;",
            ),
            // The example of crun's manual, and a range that the container's map cuts in two.
            ("uids=@1-3-10;gids=@0-0-10", "1 4 10;/0 500 10;"),
            ("uids=@7-0-3;gids=0-0-1", "7 0 1;8 2 2;/0 0 1;"),
        ];
        for (words, maps) in table {
            assert_eq!(text(ids(BARE, Some(words), OWN_USERS)), maps);
        }
        let faults = [
            ("uids=0-1-10", "gids= is missing"),
            ("x=1", "`x=1` begins with neither uids= nor gids="),
            (
                "uids=0-1;gids=0-0-1",
                "`0-1` is not three numbers with `-` between",
            ),
            (
                "uids=@2000-2000-1;gids=0-0-1",
                "`@2000-2000-1`: the container has no such ids",
            ),
            ("uids=0-0-0;gids=0-0-1", "uids: 0 ids are mapped"),
            (
                "uids=0-4294967295-2;gids=0-0-1",
                "uids: 2 ids from 4294967295 on pass the last id, 4294967294",
            ),
        ];
        for (words, reason) in faults {
            let expected = format!("mounts[2].options: `idmap={words}`: {reason}");
            assert_eq!(text(ids(BARE, Some(words), OWN_USERS)), expected);
        }
    }
}
