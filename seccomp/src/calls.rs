//! The numbers of the system calls by name, on every architecture of the spec (`calls.txt`). Not its job: which
//! calls a filter lets pass.

use crate::abi::Abi;
use crate::hash::{EMPTY, place};

/// No call of this name on the architecture.
pub(crate) const NONE: u32 = u32::MAX;

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The numbers of one call, a column for each table.
pub(crate) type Row = [u32; CALLS[0].1.len()];

/// The row of `name`.
pub(crate) fn row(name: &str) -> Option<&'static Row> {
    let first = place(name);
    let places = FOUND[first..].iter().chain(&FOUND[..first]);
    places
        .take_while(|row| **row != EMPTY)
        .filter_map(|row| CALLS.get(usize::from(*row)))
        .find_map(|(known, row)| (*known == name).then_some(row))
}

/// Whether any architecture has a call of this name.
pub fn known(name: &str) -> bool {
    row(name).is_some()
}

/// The number of the call `name`, as the kernel gives it to filters; x32's has its bit 30.
pub fn number(name: &str, abi: &Abi) -> Option<u32> {
    row(name).and_then(|row| abi.number(row))
}

/// All names, sorted.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ABIS;
    use crate::hash::PLACES;

    #[test]
    fn every_call_is_found_by_its_name_in_few_steps() {
        for (name, expected) in &CALLS {
            assert_eq!(row(name), Some(expected), "{name}");
        }
        assert!(!known("no_such_call"));
        let full = FOUND.split(|row| *row == EMPTY).map(<[u16]>::len);
        let longest = full.max().unwrap();
        assert!(
            longest < 12,
            "{longest} of {PLACES} places in a row are taken"
        );
    }

    /// libseccomp gives a number below zero to a call that the architecture lacks, or that it reaches
    /// through socketcall or ipc there; to some of the newest, and to ARM's other name of
    /// arm_sync_file_range, it does so where they exist.
    #[test]
    fn libseccomp_knows_the_same_numbers() {
        use libseccomp::ScmpSyscall;
        let mut compared = 0;
        for (abi, arch) in ABIS.iter().filter_map(|abi| Some((abi, abi.oracle()?))) {
            for name in names() {
                let Ok(theirs) = ScmpSyscall::from_name_by_arch(name, arch) else {
                    continue;
                };
                let theirs = i32::from(theirs);
                match (number(name, abi), u32::try_from(theirs)) {
                    (Some(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{name} on {abi:?}"),
                    (Some(ours), Err(_)) => {
                        let newest = ours - abi.first() > 450 || name == "sync_file_range2";
                        assert!(
                            newest || (-300..=-100).contains(&theirs),
                            "{name}: {theirs}"
                        );
                    }
                    (None, Ok(theirs)) => panic!("{name} is {theirs} on {abi:?}"),
                    (None, Err(_)) => {}
                }
                compared += 1;
            }
        }
        assert!(compared > 18 * 480, "{compared}");
    }

    /// The other way round: no number of theirs is missing in the table.
    #[test]
    fn no_call_that_libseccomp_knows_is_missing() {
        use libseccomp::ScmpSyscall;
        for (abi, arch) in ABIS.iter().filter_map(|abi| Some((abi, abi.oracle()?))) {
            let base = abi.first();
            for call in (base..base + 1000).filter_map(|number| i32::try_from(number).ok()) {
                if let Ok(name) = ScmpSyscall::from_raw_syscall(call).get_name_by_arch(arch) {
                    assert!(number(&name, abi).is_some(), "{name} on {abi:?}");
                }
            }
        }
    }
}
