//! One failed system call, with all that is needed to say what failed. Not its job: deciding what to do.

use std::fmt;

/// The kernel's error number.
pub type Errno = rustix::io::Errno;

/// What every function of this crate returns.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// A system call that failed: which one, on what, why, and the kernel's own words where it gave some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    /// The call, in the kernel's word: `open`, `mount`, `clone3`.
    pub call: &'static str,
    /// What it was asked to act on: a path, a file system type, a pid.
    pub subject: String,
    /// Why it failed.
    pub errno: Errno,
    /// The kernel's text from an fs context, or a reason that was checked to hold.
    pub note: Option<String>,
}

impl SysError {
    /// A failure of `call` on `subject`.
    pub fn new(call: &'static str, subject: impl fmt::Display, errno: Errno) -> Self {
        Self {
            call,
            subject: subject.to_string(),
            errno,
            note: None,
        }
    }

    /// The same failure with a reason that is known to hold.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The failure of a `std` call; an error that carries no number counts as EIO, its text kept as note.
    pub fn from_io(call: &'static str, subject: impl fmt::Display, error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::new(call, subject, errno),
            None => Self::new(call, subject, Errno::IO).with_note(error.to_string()),
        }
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call)?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        match &self.note {
            Some(note) => write!(f, ": {note} ({})", words(self.errno)),
            None => write!(f, ": {}", words(self.errno)),
        }
    }
}

impl std::error::Error for SysError {}

/// The C library's words for an error number, in lower case as Go writes them: `no such file or directory`. Callers
/// of runc look for these very words; `docker run` makes an exit status of them (126 and 127).
pub fn words(errno: Errno) -> String {
    let mut text = std::io::Error::from(errno).to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    // Not a name in capitals: `RFS specific error`.
    let small = |letter: &u8| letter.is_ascii_lowercase();
    if text.as_bytes().get(1).is_some_and(small)
        && let Some(first) = text.get_mut(..1)
    {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_call_the_subject_and_the_reason() {
        let error = SysError::new("open", "/run/x", Errno::NOENT);
        assert_eq!(error.to_string(), "open /run/x: no such file or directory");
    }

    #[test]
    fn the_kernels_own_text_stands_before_the_errno() {
        let error =
            SysError::new("mount", "tmpfs", Errno::INVAL).with_note("tmpfs: Bad value for 'size'");
        assert_eq!(
            error.to_string(),
            "mount tmpfs: tmpfs: Bad value for 'size' (invalid argument)"
        );
    }
}
