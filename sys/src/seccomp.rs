//! Loads a compiled seccomp filter with seccomp(2) itself, so that its flags do not hang on a
//! library's version. Not its job: compiling one.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Result, SysError};

/// Bytes of one classic BPF instruction (struct sock_filter).
pub const INSTRUCTION_SIZE: usize = 8;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub const NEW_LISTENER: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;

/// A program in the kernel's form, aligned and counted before it is needed.
#[derive(Debug, Clone)]
pub struct Filter {
    instructions: Vec<libc::sock_filter>,
    flags: u64,
}

impl Filter {
    /// Takes the bytes of a program and the SECCOMP_FILTER_FLAG_* to load it with.
    /// `None` if the bytes are no whole number of instructions, none, or more than the kernel takes.
    pub fn from_bytes(bytes: &[u8], flags: u64) -> Option<Self> {
        const MAX_INSTRUCTIONS: usize = 4096;
        let (chunks, rest) = bytes.as_chunks::<INSTRUCTION_SIZE>();
        if !rest.is_empty() || chunks.is_empty() || chunks.len() > MAX_INSTRUCTIONS {
            return None;
        }
        let instructions = chunks
            .iter()
            .map(|c| libc::sock_filter {
                code: u16::from_ne_bytes([c[0], c[1]]),
                jt: c[2],
                jf: c[3],
                k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
            })
            .collect();
        Some(Self {
            instructions,
            flags,
        })
    }

    /// The flags that it is loaded with.
    pub fn flags(&self) -> u64 {
        self.flags
    }

    /// The program's bytes, as [`Filter::from_bytes`] takes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instructions.len() * INSTRUCTION_SIZE);
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether it has none (it never has: [`Filter::from_bytes`] refuses that).
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// Puts the filter in force for this thread; with [`NEW_LISTENER`] among the flags, gives the
    /// listener's fd.
    ///
    /// # Errors
    /// EACCES without no_new_privs or CAP_SYS_ADMIN; EINVAL for a program that the kernel refuses.
    pub fn load(&self) -> Result<Option<OwnedFd>> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.instructions.len()).unwrap_or(u16::MAX),
            filter: self.instructions.as_ptr().cast_mut(),
        };
        // SAFETY: the program and the instructions that it points to live through the call; the kernel
        // copies them and writes to neither.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                self.flags,
                &raw const program,
            )
        };
        if result < 0 {
            return Err(SysError::new("seccomp", "", crate::process::last_errno()));
        }
        if self.flags & NEW_LISTENER == 0 {
            return Ok(None);
        }
        let fd = i32::try_from(result)
            .map_err(|_| SysError::new("seccomp", "", rustix::io::Errno::RANGE))?;
        // SAFETY: NEW_LISTENER made the kernel return a new fd that nobody else owns.
        Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// Whether the kernel knows all SECCOMP_FILTER_FLAG_* in `flags`: then it goes on to read the program, which
/// is not there.
pub fn knows_flags(flags: u64) -> bool {
    // SAFETY: with a null program the kernel loads nothing and answers EFAULT.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    result < 0 && crate::process::last_errno() == rustix::io::Errno::FAULT
}
