//! Makes somebody without root the root of a user namespace of their own, with the subordinate ids that the host
//! gives them, or with their own id alone. Not its job: what is done there.
//!
//! The caller goes on in a child; the process that was called stays outside, hands on signals and ends as the child
//! ends.

use std::os::fd::{AsFd, OwnedFd};

use namespaces::user::Range;
use namespaces::{IdMap, IdMaps, Namespace};
use sys::process::{self, CloneRequest, Cloned, Process, Signal};

use crate::{Error, Result};

/// Which ids the namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Root and the subordinate ids of /etc/subuid and /etc/subgid.
    Many,
    /// Root alone: the host gives this user no subordinate ids.
    One,
}

/// The host's files of subordinate ids: `NAME-OR-ID:FIRST:COUNT`.
const USERS: &str = "/etc/subuid";
const GROUPS: &str = "/etc/subgid";

/// The most that is read of one.
const LIMIT: u64 = 16 << 20;

/// Goes on as root of a new user namespace, with a mount namespace of its own. We must be one thread.
///
/// # Errors
/// [`Error::Host`] if the host allows no user namespace; [`Error::Namespaces`] if the ids can't be had.
pub fn become_root() -> Result<Ids> {
    let (uid, gid) = sys::privileges::ids();
    let read = |path| {
        String::from_utf8_lossy(&sys::file::read(path, LIMIT).unwrap_or_default()).into_owned()
    };
    let name = name_of(&read("/etc/passwd"), uid);
    let find = |path| ranges(&read(path), &name, uid);
    let (ids, maps) = maps((uid, &find(USERS)), (gid, &find(GROUPS)));
    go_on_with(&maps)?;
    Ok(ids)
}

/// Goes on as root of a new user namespace in which there is nobody else: all files of whoever calls can be read,
/// whatever their modes, and what is made is the caller's as it would be without. We must be one thread.
///
/// # Errors
/// As [`become_root`]; nothing has changed then.
pub fn become_root_alone() -> Result<()> {
    let (uid, gid) = sys::privileges::ids();
    let (_, maps) = maps((uid, &[]), (gid, &[]));
    go_on_with(&maps)
}

fn go_on_with(maps: &IdMaps) -> Result<()> {
    let doing = "make a user namespace for building without root";
    let (ours, theirs) = sys::socket::pair().map_err(Error::host(doing))?;
    let namespaces = Namespace::User.flag() | Namespace::Mount.flag();
    let request = CloneRequest {
        namespaces,
        ..CloneRequest::default()
    };
    let parent = process::id();
    match process::clone(&request).map_err(Error::host(doing))? {
        Cloned::Parent(child) => {
            drop(theirs);
            // Dropped without a word, the socket ends the child.
            maps.write(child.pid)?;
            sys::socket::send(&ours, b"go", None).map_err(Error::host(doing))?;
            let status = stay_beside(&child).map_err(Error::host("wait for the build"))?;
            process::exit(status)
        }
        Cloned::Child => {
            drop(ours);
            wait_for_maps(&theirs, parent).map_err(Error::host(doing))
        }
    }
}

fn wait_for_maps(parents: &OwnedFd, parent: process::Pid) -> sys::Result<()> {
    process::die_with_parent(Some(Signal::TERM))?;
    let heard = sys::socket::receive(parents, &mut [0; 2])?;
    if heard.length == 0 || process::parent_id() != Some(parent) {
        process::exit(1);
    }
    Ok(())
}

/// Hands on signals until the child has ended; gives its status.
fn stay_beside(child: &Process) -> sys::Result<i32> {
    let signals = sys::signal::signals_as_fd()?;
    loop {
        let fds = [signals.as_fd(), child.pidfd.as_fd()];
        let ready = sys::poll::readable(&fds, None)?;
        while let Some(number) = sys::signal::next_signal(&signals)? {
            let handed_on = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
            if let Some(signal) = handed_on.into_iter().find(|s| s.as_raw() == number) {
                let _ended_already = process::send_signal(&child.pidfd, signal);
            }
        }
        if ready[1] {
            return Ok(process::wait(&child.pidfd)?.code().into());
        }
    }
}

/// The account's name; empty if it has none.
fn name_of(passwd: &str, uid: u32) -> String {
    passwd
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        })
        .unwrap_or_default()
}

/// The subordinate ids of a user, as first ones and counts.
fn ranges(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let is_theirs = !owner.is_empty() && (owner == name || owner == number);
            let first = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok()?;
            (is_theirs && count > 0).then_some((first, count))
        })
        .collect()
}

/// Root is whoever calls; the subordinate ids follow it.
fn maps(users: (u32, &[(u32, u32)]), groups: (u32, &[(u32, u32)])) -> (Ids, IdMaps) {
    let (ids, [users, groups]) = match users.1.is_empty() || groups.1.is_empty() {
        true => (Ids::One, [(users.0, &[][..]), (groups.0, &[][..])]),
        false => (Ids::Many, [users, groups]),
    };
    let map = |(own, more): (u32, &[(u32, u32)])| {
        let mut ranges = vec![Range {
            inside: 0,
            outside: own,
            size: 1,
        }];
        let mut inside = 1_u32;
        for (outside, size) in more {
            ranges.push(Range {
                inside,
                outside: *outside,
                size: *size,
            });
            inside = inside.saturating_add(*size);
        }
        IdMap { ranges }
    };
    let maps = IdMaps {
        uid: map(users),
        gid: map(groups),
    };
    (ids, maps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "other:1:1\nme:100000:65536\n1000:200000:10\n:5:5\nme:x:y\nme:7:0\n";
        assert_eq!(ranges(text, "me", 1000), [(100_000, 65_536), (200_000, 10)]);
        assert_eq!(ranges(text, "", 1001), []);
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000), "me");
        assert_eq!(name_of(passwd, 1), "");
    }

    #[test]
    fn root_is_the_caller_and_the_others_follow() {
        let more = [(100_000, 65_536)];
        let (ids, both) = maps((1000, &more), (1001, &more));
        assert_eq!(ids, Ids::Many);
        let range = |inside, outside, size| Range {
            inside,
            outside,
            size,
        };
        assert_eq!(
            both.uid.ranges,
            [range(0, 1000, 1), range(1, 100_000, 65_536)]
        );
        assert_eq!(both.gid.ranges[0], range(0, 1001, 1));
    }

    #[test]
    fn without_ranges_of_both_kinds_there_is_one_id() {
        let more = [(100_000, 65_536)];
        let (ids, both) = maps((1000, &more), (1001, &[]));
        assert_eq!(ids, Ids::One);
        assert_eq!((both.uid.ranges.len(), both.gid.ranges.len()), (1, 1));
    }
}
