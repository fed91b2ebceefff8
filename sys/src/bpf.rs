//! bpf(2), as far as a cgroup's device filter needs it: load a program, attach it to a cgroup.
//! Not its job: what the program says (that is the cgroups crate's).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::{Errno, Result, SysError};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Several programs may sit on one cgroup, and those of its parents still count: all must allow.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// The verifier's words are read into a buffer of this size when it refuses a program.
const LOG_SIZE: usize = 64 * 1024;

/// The head of `union bpf_attr` for BPF_PROG_LOAD, up to the last member that we set.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The head of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
#[derive(Default)]
struct ProgAttach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE; each instruction is eight bytes as the kernel
/// lays them out.
///
/// # Errors
/// As bpf(2), with the verifier's last words as note: EPERM without CAP_BPF or CAP_SYS_ADMIN over the
/// first user namespace, ENOSYS or EINVAL where the kernel has no such programs.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    match load(instructions, None) {
        // Before Linux 5.11 programs count against RLIMIT_MEMLOCK, and running out reads EPERM. Who may
        // not raise the limit keeps the first answer; nobody dies for a limit that newer kernels ignore.
        Err(Errno::PERM) => with_memlock_raised(|| load(instructions, None)),
        other => other,
    }
    .map_err(|errno| explain(instructions, errno))
}

/// The error with the verifier's reason, if it has one: asked for only now, as writing it is slow.
fn explain(instructions: &[u64], errno: Errno) -> SysError {
    let error = SysError::new("bpf", "BPF_PROG_LOAD", errno);
    if !matches!(errno, Errno::INVAL | Errno::ACCESS | Errno::TOOBIG) {
        return error;
    }
    let mut log = vec![0_u8; LOG_SIZE];
    if load(instructions, Some(&mut log)).is_ok() {
        return error;
    }
    let text = String::from_utf8_lossy(&log);
    let text = text.trim_end_matches('\0').trim_end();
    match text
        .lines()
        .rev()
        .find(|line| !line.starts_with("processed "))
    {
        Some(line) => error.with_note(line),
        None => error,
    }
}

fn load(instructions: &[u64], log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let mut attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: *b"dhow_devices\0\0\0\0",
        ..ProgLoad::default()
    };
    if let Some(log) = log {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    // SAFETY: the attributes and what they point to (instructions, licence, log) are borrowed by this
    // function through the call, with their true lengths.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw mut attr,
            size_of::<ProgLoad>(),
        )
    };
    match libc::c_int::try_from(fd) {
        // SAFETY: BPF_PROG_LOAD made a new fd (close-on-exec always) that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(crate::process::last_errno()),
    }
}

/// Runs `call` without RLIMIT_MEMLOCK, where that may be lifted, and puts the limit back: the container
/// inherits it.
fn with_memlock_raised<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let old = getrlimit(Resource::Memlock);
    let none = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, none).map_err(|_| Errno::PERM)?;
    let result = call();
    // Lowering one's own limit to what it was needs no right.
    setrlimit(Resource::Memlock, old)?;
    result
}

/// Attaches a device program to the cgroup whose directory `cgroup` is. It stays until the cgroup is
/// removed: the kernel keeps it, so `program` may be closed.
///
/// # Errors
/// As bpf(2): EPERM without CAP_SYS_ADMIN or CAP_NET_ADMIN, or if a parent forbids programs below it.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let number = |fd: &dyn AsFd| u32::try_from(fd.as_fd().as_raw_fd()).unwrap_or(u32::MAX);
    let mut attr = ProgAttach {
        target_fd: number(&cgroup),
        attach_bpf_fd: number(&program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are borrowed through the call with their true length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw mut attr,
            size_of::<ProgAttach>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        let errno = crate::process::last_errno();
        Err(SysError::new("bpf", "BPF_PROG_ATTACH", errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 0; exit`, and the exit alone, which leaves r0 unset.
    const DENY: u64 = 0x0000_0000_0000_00b7;
    const EXIT: u64 = 0x0000_0000_0000_0095;

    #[test]
    fn the_verifiers_reason_is_in_the_error() {
        if load(&[DENY, EXIT], None).is_err() {
            return; // no right to load programs here
        }
        let error = load_device_program(&[EXIT]).unwrap_err();
        assert!(error.note.unwrap().contains("R0"), "the note names R0");
    }
}
