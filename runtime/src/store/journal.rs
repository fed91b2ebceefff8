//! state.json: what is known of a container, each thing on a line of its own and appended by one write(2).
//!
//! ```text
//! {"record":{…}}     what was asked for, and by whom: before the first act. Again where it grows (update)
//! {"entering":{…}}   what `exec` needs, and the seccomp filter
//! {"init":{…}}       who the first process is: from here on the container is made
//! ```
//!
//! One file, since making a file is what costs: a container's directory on ext4 takes up to 0.3 ms for each. Of
//! two lines of a kind the later counts. A line without its end is not there yet, or never will be: its writer was
//! killed, and has done nothing that would stand in it. Pure, but for the file's reading and writing.
//! Not its job: what the lines mean (state, entering).

use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::at::{Mode, OFlags};
use sys::{Errno, SysError};

use crate::entering::Entering;
use crate::state::{ProcessId, Record};

/// The file's name.
pub(super) const JOURNAL: &str = "state.json";

/// The largest one: annotations and hooks are the caller's and may be long.
const MAX_BYTES: u64 = 32 << 20;

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line<'a> {
    /// What was asked for.
    Record(&'a Record),
    /// What `exec` needs.
    Entering(&'a Entering),
    /// The first process.
    Init(ProcessId),
}

/// The kinds of lines, as they begin.
pub(super) mod kind {
    pub(in crate::store) const RECORD: &str = "record";
    pub(in crate::store) const ENTERING: &str = "entering";
    pub(in crate::store) const INIT: &str = "init";
}

/// Makes the file in the container's directory.
pub(super) fn create(dir: impl AsFd) -> sys::Result<OwnedFd> {
    let new = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
    open(dir, new)
}

/// Opens the file of the container's directory.
pub(super) fn open(dir: impl AsFd, flags: OFlags) -> sys::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::at::openat(dir, JOURNAL, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| SysError::new("open", JOURNAL, errno))
}

/// Appends a line. One that could not be written whole stays without its end, so that it does not count; nothing
/// can follow it then.
pub(super) fn append(file: impl AsFd, line: &Line<'_>) -> sys::Result<()> {
    let mut bytes = serde_json::to_vec(line).expect("strings and numbers always serialize");
    bytes.push(b'\n');
    match sys::at::write(file, &bytes) {
        Ok(n) if n == bytes.len() => Ok(()),
        Ok(_) => Err(SysError::new("write", JOURNAL, Errno::NOSPC)),
        Err(errno) => Err(SysError::new("write", JOURNAL, errno)),
    }
}

/// Ends a line whose writer was killed, so that the next one stands alone.
pub(super) fn end_line(file: impl AsFd) -> sys::Result<()> {
    match sys::at::write(file, b"\n") {
        Ok(_) => Ok(()),
        Err(errno) => Err(SysError::new("write", JOURNAL, errno)),
    }
}

/// All that stands in the file.
pub(super) fn read(file: impl AsFd) -> sys::Result<Vec<u8>> {
    sys::file::read_from_start(file, &JOURNAL, MAX_BYTES)
}

/// The last line of a kind; `None` if there is none.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn last<T: DeserializeOwned>(bytes: &[u8], kind: &str) -> Result<Option<T>, String> {
    let Some(line) = lines(bytes).rev().find_map(|line| inside(line, kind)) else {
        return Ok(None);
    };
    serde_json::from_slice(line)
        .map(Some)
        .map_err(|e| format!("{JOURNAL}: {kind}: {e}"))
}

/// The lines that have their end.
fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    bytes[..whole].split(|&byte| byte == b'\n')
}

/// What stands in a line of this kind: `{"kind":` … `}`.
fn inside<'a>(line: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    line.strip_prefix(b"{\"")?
        .strip_prefix(kind.as_bytes())?
        .strip_prefix(b"\":")?
        .strip_suffix(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(pid: i32) -> Vec<u8> {
        let id = ProcessId { pid, start_time: 9 };
        let mut line = serde_json::to_vec(&Line::Init(id)).unwrap();
        line.push(b'\n');
        line
    }

    fn pid(bytes: &[u8]) -> Option<i32> {
        last::<ProcessId>(bytes, kind::INIT)
            .unwrap()
            .map(|id| id.pid)
    }

    #[test]
    fn of_two_lines_of_a_kind_the_later_counts() {
        assert_eq!(pid(&[init(7), init(8)].concat()), Some(8));
    }

    #[test]
    fn a_line_without_its_end_is_not_there() {
        let whole = [init(7), init(8)].concat();
        for length in 0..whole.len() {
            let wanted = (length >= init(7).len()).then_some(7);
            assert_eq!(pid(&whole[..length]), wanted, "{length} bytes");
        }
    }

    #[test]
    fn another_kind_is_passed_over_and_what_is_broken_is_told() {
        let other = b"{\"record\":{\"init\":1}}\n".as_slice();
        assert_eq!(pid(&[&init(7), other].concat()), Some(7));
        let broken = last::<ProcessId>(b"{\"init\":{\"pid\":true}}\n", kind::INIT).unwrap_err();
        assert!(broken.starts_with("state.json: init: "), "{broken}");
    }
}
