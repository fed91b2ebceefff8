//! What dhow and a container's first process say to each other, and in which order.
//!
//! ```text
//!  dhow                                init
//!   | ---- clone3 --------------------> |
//!   | ---- a network namespace -------> |   only where dhow makes it meanwhile
//!   | <--- NeedIdMaps ------------------|   only with a new user namespace
//!   | ---- Go ------------------------> |
//!   | <--- Made ------------------------|   only from a middle process, which ends
//!   | ---- Go ------------------------> |   to the first process, which it made
//!   | <--- NeedNetDevices --------------|   only with linux.netDevices
//!   | ---- Go ------------------------> |
//!   | <--- NeedHooks -------------------|   only with prestart or createRuntime hooks
//!   | ---- Go ------------------------> |
//!   | <--- Ready -----------------------|
//!   |  (the state "created" is saved)   |
//!   | ---- Go ------------------------> |
//!   | <--- HandedOver ------------------|   init now waits for `dhow start`; dhow may end
//!   |                                   |
//!  dhow start                           |
//!   | ---- connects ------------------> |
//!   | <--- NeedListener ----------------|   only with a filter that notifies (listener)
//!   | ---- agent, state --------------> |
//!   | <--- (closed by exec: success) ---|
//!      <--- Failed at any moment -------|
//! ```
//!
//! A failure crosses as data (step, call, subject, errno, the kernel's text), never as a sentence.
//! Not its job: what either side does between two messages.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::{Errno, SysError};

/// Room for the longest message; subjects and notes are cut to fit.
const MAX_MESSAGE: usize = 8192;

/// How much of a subject or note crosses.
const MAX_TEXT: usize = 3500;

/// What init says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromInit {
    /// The user namespace is there and wants its maps.
    NeedIdMaps,
    /// The network namespace is there, and devices of the host's are to be moved into it.
    NeedNetDevices,
    /// The namespaces are there, the root is not yet: the time of prestart and createRuntime hooks.
    NeedHooks,
    /// All is prepared.
    Ready,
    /// It no longer ends with dhow.
    HandedOver,
    /// The filter is about to be loaded and somebody must hear its notifications.
    NeedListener,
    /// The middle process has made the first one, of this id; its handle comes along.
    Made(i32),
    /// A step failed; init ends.
    Failed(Failure),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step's place in the plan.
    pub step: u32,
    /// The system call.
    pub call: String,
    /// What it acted on.
    pub subject: String,
    /// The error number; 0 if the note alone says why.
    pub errno: i32,
    /// The kernel's text, or a reason that was checked.
    pub note: Option<String>,
}

impl Failure {
    /// A failure of step number `step`.
    pub fn new(step: u32, error: &SysError) -> Self {
        Self {
            step,
            call: error.call.to_owned(),
            subject: error.subject.clone(),
            errno: error.errno.raw_os_error(),
            note: error.note.clone(),
        }
    }

    /// A failure of step number `step` that was no system call's: a hook's.
    pub fn words(step: u32, words: String) -> Self {
        Self {
            step,
            call: String::new(),
            subject: String::new(),
            errno: 0,
            note: Some(words),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errno == 0 {
            return f.write_str(self.note.as_deref().unwrap_or(&self.subject));
        }
        let words = sys::words(Errno::from_raw_os_error(self.errno));
        match (&self.note, self.call.as_str()) {
            // The kernel's own text names the file system itself.
            (Some(note), "mount") => write!(f, "{note} ({words})"),
            (Some(note), _) if self.subject.is_empty() => write!(f, "{note} ({words})"),
            (Some(note), call) => write!(f, "{call} {}: {note} ({words})", self.subject),
            (None, call) if self.subject.is_empty() => write!(f, "{call}: {words}"),
            (None, call) => write!(f, "{call} {}: {words}", self.subject),
        }
    }
}

/// Sends a message of init's.
///
/// # Errors
/// As sendmsg(2).
pub(crate) fn tell(socket: impl AsFd, message: &FromInit) -> sys::Result<()> {
    sys::socket::send(socket, &encode(message), None)
}

/// Sends a message with a descriptor.
///
/// # Errors
/// As sendmsg(2).
pub(crate) fn tell_with(
    socket: impl AsFd,
    message: &FromInit,
    fd: BorrowedFd<'_>,
) -> sys::Result<()> {
    sys::socket::send(socket, &encode(message), Some(fd))
}

fn encode(message: &FromInit) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    match message {
        FromInit::NeedIdMaps => bytes.push(b'M'),
        FromInit::NeedHooks => bytes.push(b'H'),
        FromInit::NeedNetDevices => bytes.push(b'N'),
        FromInit::Ready => bytes.push(b'R'),
        FromInit::HandedOver => bytes.push(b'D'),
        FromInit::NeedListener => bytes.push(b'L'),
        FromInit::Made(pid) => {
            bytes.push(b'P');
            bytes.extend(pid.to_le_bytes());
        }
        FromInit::Failed(failure) => {
            bytes.push(b'F');
            bytes.extend(failure.step.to_le_bytes());
            bytes.extend(failure.errno.to_le_bytes());
            for text in [&failure.call, &failure.subject] {
                put(&mut bytes, text);
            }
            if let Some(note) = &failure.note {
                put(&mut bytes, note);
            }
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let length = u16::try_from(end).expect("MAX_TEXT fits in 16 bits");
    bytes.extend(length.to_le_bytes());
    bytes.extend(&text.as_bytes()[..end]);
}

/// A message, and the descriptor that came with it.
#[derive(Debug)]
pub(crate) struct Heard {
    /// What was said; `None` when the other end is closed.
    pub(crate) message: Option<FromInit>,
    /// A process handle, with [`FromInit::Made`].
    pub(crate) fd: Option<OwnedFd>,
}

/// Waits for a message of init's.
///
/// # Errors
/// As recvmsg(2); EBADMSG for bytes that are no message.
pub(crate) fn hear(socket: impl AsFd) -> sys::Result<Heard> {
    let mut buffer = [0_u8; MAX_MESSAGE];
    let mut received = sys::socket::receive(&socket, &mut buffer);
    if is_reset(&received) {
        // It ended with a message of ours unread, of which the kernel tells before its last words.
        received = sys::socket::receive(&socket, &mut buffer);
    }
    if is_reset(&received) {
        return Ok(Heard {
            message: None,
            fd: None,
        });
    }
    let received = received?;
    let fd = received.fd;
    let mut bytes = &buffer[..received.length];
    let message = match take(&mut bytes, 1) {
        None => return Ok(Heard { message: None, fd }),
        Some(b"M") => Some(FromInit::NeedIdMaps),
        Some(b"H") => Some(FromInit::NeedHooks),
        Some(b"N") => Some(FromInit::NeedNetDevices),
        Some(b"R") => Some(FromInit::Ready),
        Some(b"D") => Some(FromInit::HandedOver),
        Some(b"L") => Some(FromInit::NeedListener),
        Some(b"P") => take(&mut bytes, 4)
            .and_then(|b| b.try_into().ok())
            .map(|b| FromInit::Made(i32::from_le_bytes(b))),
        Some(b"F") => failure(bytes).map(FromInit::Failed),
        Some(_) => None,
    };
    match message {
        Some(message) => Ok(Heard {
            message: Some(message),
            fd,
        }),
        None => Err(SysError::new("recvmsg", "", Errno::BADMSG)),
    }
}

fn is_reset<T>(received: &sys::Result<T>) -> bool {
    matches!(received, Err(e) if e.errno == Errno::CONNRESET)
}

fn failure(mut bytes: &[u8]) -> Option<Failure> {
    let step = u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    let errno = i32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    Some(Failure {
        step,
        errno,
        call: text(&mut bytes)?,
        subject: text(&mut bytes)?,
        note: text(&mut bytes),
    })
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = u16::from_le_bytes(take(bytes, 2)?.try_into().ok()?);
    let text = take(bytes, usize::from(length))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

/// init's word that it no longer ends with dhow.
///
/// # Errors
/// As sendmsg(2).
pub(crate) fn hand_over(socket: impl AsFd) -> sys::Result<()> {
    tell(socket, &FromInit::HandedOver)
}

/// Lets init go on.
///
/// # Errors
/// As sendmsg(2); EPIPE if it has ended.
pub(crate) fn go(socket: impl AsFd) -> sys::Result<()> {
    sys::socket::send(socket, b"G", None)
}

/// Hands a namespace to init.
///
/// # Errors
/// As sendmsg(2); EPIPE if it has ended.
pub(crate) fn hand(socket: impl AsFd, namespace: BorrowedFd<'_>) -> sys::Result<()> {
    sys::socket::send(socket, b"N", Some(namespace))
}

/// init's side of [`hand`]. ECONNABORTED if dhow has ended meanwhile.
///
/// # Errors
/// As recvmsg(2).
pub(crate) fn take_fd(socket: impl AsFd) -> sys::Result<OwnedFd> {
    let mut buffer = [0_u8; 8];
    let received = sys::socket::receive(socket, &mut buffer)?;
    received.fd.ok_or_else(gone)
}

fn gone() -> SysError {
    SysError::new("recvmsg", "", Errno::CONNABORTED).with_note("dhow has ended")
}

/// Sends a text of any length with a descriptor, in pieces that fit a message.
///
/// # Errors
/// As sendmsg(2).
pub(crate) fn give(socket: impl AsFd, text: &[u8], fd: BorrowedFd<'_>) -> sys::Result<()> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    sys::socket::send(&socket, &length.to_le_bytes(), Some(fd))?;
    text.chunks(MAX_MESSAGE)
        .try_for_each(|piece| sys::socket::send(&socket, piece, None))
}

/// init's side of [`give`]. ECONNABORTED if dhow has ended meanwhile.
///
/// # Errors
/// As recvmsg(2).
pub(crate) fn take_given(socket: impl AsFd) -> sys::Result<(Vec<u8>, OwnedFd)> {
    let mut buffer = [0_u8; MAX_MESSAGE];
    let received = sys::socket::receive(&socket, &mut buffer)?;
    let length = buffer.first_chunk().filter(|_| received.length == 4);
    let length = u32::from_le_bytes(*length.ok_or_else(gone)?);
    let fd = received.fd.ok_or_else(gone)?;
    let mut text = Vec::new();
    while u32::try_from(text.len()).is_ok_and(|have| have < length) {
        match sys::socket::receive(&socket, &mut buffer)?.length {
            0 => return Err(gone()),
            count => text.extend(&buffer[..count]),
        }
    }
    Ok((text, fd))
}

/// init's side of [`go`]: waits for it. ECONNABORTED if dhow has ended meanwhile.
///
/// # Errors
/// As recvmsg(2).
pub(crate) fn await_go(socket: impl AsFd) -> sys::Result<()> {
    let mut buffer = [0_u8; 8];
    match sys::socket::receive(socket, &mut buffer)?.length {
        0 => Err(gone()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossing(message: &FromInit) -> Option<FromInit> {
        let (ours, theirs) = sys::socket::pair().unwrap();
        tell(&theirs, message).unwrap();
        hear(&ours).unwrap().message
    }

    #[test]
    fn a_failure_crosses_whole() {
        let error = SysError::new("open", "/data", Errno::NOENT).with_note("ü because");
        let message = FromInit::Failed(Failure::new(7, &error));
        assert_eq!(crossing(&message), Some(message));
    }

    #[test]
    fn a_huge_note_is_cut_and_not_lost() {
        let error = SysError::new("open", "x", Errno::NOENT).with_note("ü".repeat(9000));
        let Some(FromInit::Failed(failure)) = crossing(&FromInit::Failed(Failure::new(0, &error)))
        else {
            panic!("no failure came");
        };
        assert!(failure.note.unwrap().starts_with("üü"));
    }

    #[test]
    fn last_words_are_heard_though_a_message_of_ours_was_not() {
        let (ours, theirs) = sys::socket::pair().unwrap();
        go(&ours).unwrap();
        tell(&theirs, &FromInit::Ready).unwrap();
        drop(theirs);
        assert_eq!(hear(&ours).unwrap().message, Some(FromInit::Ready));
        assert_eq!(hear(&ours).unwrap().message, None);
    }

    #[test]
    fn a_closed_end_is_the_end() {
        let (ours, theirs) = sys::socket::pair().unwrap();
        drop(theirs);
        assert_eq!(hear(&ours).unwrap().message, None);
        assert_eq!(await_go(&ours).unwrap_err().errno, Errno::CONNABORTED);
    }
}
