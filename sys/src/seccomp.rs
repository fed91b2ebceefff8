//! Loads a compiled seccomp filter with seccomp(2) itself, so that its flags do not hang on a
//! library's version. Not its job: compiling one.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

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
        let (chunks, rest) = bytes.as_chunks::<INSTRUCTION_SIZE>();
        match rest {
            [] => Self::from_chunks(chunks.iter().copied(), flags),
            _ => None,
        }
    }

    /// Takes the instructions of a program, each as a number, and the SECCOMP_FILTER_FLAG_* to load it with.
    /// `None` if there are none, or more than the kernel takes.
    pub fn from_words(words: &[u64], flags: u64) -> Option<Self> {
        Self::from_chunks(words.iter().map(|word| word.to_le_bytes()), flags)
    }

    fn from_chunks(
        chunks: impl ExactSizeIterator<Item = [u8; INSTRUCTION_SIZE]>,
        flags: u64,
    ) -> Option<Self> {
        const MAX_INSTRUCTIONS: usize = 4096;
        if chunks.len() == 0 || chunks.len() > MAX_INSTRUCTIONS {
            return None;
        }
        let instructions = chunks
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

    /// Whether it has a listener.
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// The program's instructions, as [`Filter::from_words`] takes them.
    pub fn to_words(&self) -> Vec<u64> {
        let word = |i: &libc::sock_filter| {
            let ([a, b], [k0, k1, k2, k3]) = (i.code.to_ne_bytes(), i.k.to_ne_bytes());
            u64::from_le_bytes([a, b, i.jt, i.jf, k0, k1, k2, k3])
        };
        self.instructions.iter().map(word).collect()
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether it has none (it never has: [`Filter::from_bytes`] refuses that).
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// Puts the filter in force for this thread and gives its listener to `deliver`, which runs on a thread of its
    /// own, without the filter. Comes back when that is done; meanwhile this thread makes no system call, for each
    /// might be one that nobody answers yet. To be called once in a process' life.
    ///
    /// # Errors
    /// As [`Filter::load`]; EAGAIN where no thread can be made.
    pub fn load_with_listener(&self, deliver: impl FnOnce(OwnedFd) + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || hand_over(deliver))
            .map_err(|e| SysError::from_io("clone", "a thread for the seccomp listener", &e))?;
        let listener = match self.load() {
            Ok(Some(listener)) => listener.into_raw_fd(),
            Ok(None) => DONE,
            Err(error) => {
                HAND_OVER.store(NOT_LOADED, Ordering::Release);
                return Err(error);
            }
        };
        // Its end is not waited for, and its memory goes with the exec.
        std::mem::forget(thread);
        HAND_OVER.store(listener, Ordering::Release);
        while HAND_OVER.load(Ordering::Acquire) != DONE {
            std::hint::spin_loop();
        }
        Ok(())
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

/// What the thread that loads a filter and the one that hands its listener over tell each other: the listener's
/// number, or one of these.
static HAND_OVER: AtomicI32 = AtomicI32::new(LOADING);
const LOADING: i32 = -1;
const NOT_LOADED: i32 = -2;
const DONE: i32 = -3;

/// Room for the thread that hands a listener over.
const STACK: usize = 128 << 10;

/// Waits for the filter's listener and gives it to `deliver`.
fn hand_over(deliver: impl FnOnce(OwnedFd)) {
    let number = loop {
        match HAND_OVER.load(Ordering::Acquire) {
            LOADING => std::thread::yield_now(),
            number => break number,
        }
    };
    if number >= 0 {
        // SAFETY: the kernel made this fd for the other thread, which gave it up to us.
        deliver(unsafe { OwnedFd::from_raw_fd(number) });
        HAND_OVER.store(DONE, Ordering::Release);
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
