//! Who belongs to a container: the processes of its cgroup or, where it has none of its own (`--cgroup-manager
//! disabled`), its family, which the kernel's process table tells. Not its job: showing and signalling them.

use std::collections::BTreeMap;

use cgroups::Cgroup;

use crate::state::Record;
use crate::{Error, Result};

/// The container's cgroup, unless it has none of its own, or no more.
pub(crate) fn cgroup(record: &Record) -> Result<Option<Cgroup>> {
    let opened = record.cgroup.as_deref().map(Cgroup::open).transpose()?;
    Ok(opened.flatten())
}

/// The ids of all processes in `cgroup` (of [`cgroup`]) and below it; without one, of the container's family.
pub(crate) fn ids(record: &Record, cgroup: Option<&Cgroup>) -> Result<Vec<i32>> {
    match cgroup {
        Some(cgroup) => Ok(cgroup.processes()?),
        None => family(record),
    }
}

/// A line of the process table.
#[derive(Debug, Clone, Copy)]
struct Kin {
    parent: i32,
    /// It lives in the container's own PID namespace.
    inside: bool,
}

/// The first process, all of its PID namespace if that is the container's own, and their descendants. Without such
/// a namespace those are missing whose parent has ended: the host's first process has adopted them.
fn family(record: &Record) -> Result<Vec<i32>> {
    let doing = || Error::host("look for the container's processes");
    let Some(init) = record.init else {
        return Ok(Vec::new());
    };
    if !init.lives().map_err(doing())? {
        return Ok(Vec::new());
    }
    let host = sys::processes::own_pid_namespace().map_err(doing())?;
    let namespace = sys::processes::pid_namespace(init.pid).map_err(doing())?;
    let own = Some(namespace).filter(|namespace| *namespace != host);
    let mut table = BTreeMap::new();
    for pid in sys::processes::ids().map_err(doing())? {
        // It has ended since.
        let Some(stat) = sys::process::stat(pid).map_err(doing())? else {
            continue;
        };
        let inside = own.is_some() && sys::processes::pid_namespace(pid).ok() == own;
        let parent = stat.parent;
        table.insert(pid, Kin { parent, inside });
    }
    Ok(descent(init.pid, &table))
}

/// Whoever is inside, is `first`, or descends from one of these. Pure.
fn descent(first: i32, table: &BTreeMap<i32, Kin>) -> Vec<i32> {
    let belongs = |pid: i32| {
        let mut next = pid;
        // Ids are used again: a table that was read meanwhile may hold a ring.
        for _ in 0..table.len() {
            match table.get(&next) {
                Some(kin) if kin.inside || next == first => return true,
                Some(kin) => next = kin.parent,
                None => return false,
            }
        }
        false
    };
    table.keys().copied().filter(|pid| belongs(*pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: i32, rows: &[(i32, i32, bool)]) -> Vec<i32> {
        let row = |(pid, parent, inside): &(i32, i32, bool)| {
            let (parent, inside) = (*parent, *inside);
            (*pid, Kin { parent, inside })
        };
        descent(first, &rows.iter().map(row).collect())
    }

    #[test]
    fn a_family_is_the_namespace_and_who_descends_from_it() {
        let rows = [
            (1, 0, false),
            (10, 1, true),
            (11, 10, true),
            // Of an exec: its parent is outside.
            (20, 1, true),
            // In a namespace below.
            (21, 20, false),
            (22, 21, false),
            (30, 1, false),
        ];
        assert_eq!(of(10, &rows), [10, 11, 20, 21, 22]);
    }

    #[test]
    fn without_a_namespace_a_family_is_who_descends_from_the_first() {
        let rows = [
            (1, 0, false),
            (10, 1, false),
            (11, 10, false),
            (12, 1, false),
        ];
        assert_eq!(of(10, &rows), [10, 11]);
        assert_eq!(of(13, &[(14, 15, false), (15, 14, false)]), [0; 0]);
    }
}
