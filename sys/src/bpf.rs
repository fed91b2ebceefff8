//! bpf(2), as far as a cgroup's device filter needs it: load a program, attach it to a cgroup, put another
//! in its place.
//! Not its job: what the program says (that is the cgroups crate's).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, Result, SysError};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Several programs may sit on one cgroup, and those of its parents still count: all must allow.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
/// Takes the place of the program that is named (Linux 5.6).
const BPF_F_REPLACE: u32 = 1 << 2;
/// No cgroup has more programs of one kind (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;
/// What our programs are called, by which they are found again.
const NAME: [u8; 16] = *b"dhow_devices\0\0\0\0";

/// How often a program is offered that the verifier was kept from reading to its end.
const TRIES: u32 = 200;

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
    replace_bpf_fd: u32,
}

/// The head of `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The head of `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The head of `union bpf_attr` for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct GetFd {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `struct bpf_prog_info` up to the name.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    head: [u64; 8],
    name: [u8; 16],
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
        prog_name: NAME,
        ..ProgLoad::default()
    };
    if let Some(log) = log {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    // Instructions, licence and log are borrowed by this function through the calls, with true lengths.
    let mut tries = 0;
    let fd = loop {
        match call(BPF_PROG_LOAD, &mut attr) {
            // The verifier gives up when a signal comes, be it one that only stops us.
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    // SAFETY: BPF_PROG_LOAD made a new fd (close-on-exec always) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
    attach(cgroup.as_fd(), program.as_fd(), None)
        .map_err(|errno| SysError::new("bpf", "BPF_PROG_ATTACH", errno))
}

/// The same in place of the one that [`attach_device_program`] put there before, without a moment in which
/// none holds. Programs of others (systemd's) stay.
///
/// # Errors
/// As [`attach_device_program`]; then the old one still holds.
pub fn replace_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let (cgroup, program) = (cgroup.as_fd(), program.as_fd());
    let fail = |call: &'static str| move |errno| SysError::new("bpf", call, errno);
    let mut old = ours(cgroup)?;
    let replaced = match old.first() {
        None => attach(cgroup, program, None),
        Some(_) if crate::fault::broken("no-bpf-replace") => Err(Errno::INVAL),
        Some(first) => attach(cgroup, program, Some(first.as_fd())),
    };
    match replaced {
        Ok(()) => old = old.split_off(old.len().min(1)),
        // Before Linux 5.6 nothing is replaced: for a moment both hold, and both must say yes.
        Err(Errno::INVAL) if !old.is_empty() => {
            attach(cgroup, program, None).map_err(fail("BPF_PROG_ATTACH"))?;
        }
        Err(errno) => return Err(fail("BPF_PROG_ATTACH")(errno)),
    }
    // More than one is what a killed update left in the moment in which both hold.
    for program in old {
        detach(cgroup, program.as_fd()).map_err(fail("BPF_PROG_DETACH"))?;
    }
    Ok(())
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    instead: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = ProgAttach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: match instead {
            Some(_) => BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
            None => BPF_F_ALLOW_MULTI,
        },
        replace_bpf_fd: instead.map_or(0, number),
    };
    call(BPF_PROG_ATTACH, &mut attr).map(|_| ())
}

fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = ProgAttach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..ProgAttach::default()
    };
    call(BPF_PROG_DETACH, &mut attr).map(|_| ())
}

/// The programs on this cgroup itself that bear our name.
fn ours(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let fail = |call: &'static str| move |errno| SysError::new("bpf", call, errno);
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut query = ProgQuery {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        ..ProgQuery::default()
    };
    call(BPF_PROG_QUERY, &mut query).map_err(fail("BPF_PROG_QUERY"))?;
    let count = usize::try_from(query.prog_cnt).unwrap_or(0);
    let mut found = Vec::new();
    for id in ids.iter().take(count) {
        let mut attr = GetFd {
            prog_id: *id,
            ..GetFd::default()
        };
        let program = match call(BPF_PROG_GET_FD_BY_ID, &mut attr) {
            // SAFETY: the call made a new fd (close-on-exec always) that nobody else owns.
            Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
            // Detached since we asked.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(fail("BPF_PROG_GET_FD_BY_ID")(errno)),
        };
        let mut info = ProgInfo::default();
        let mut attr = GetInfo {
            bpf_fd: number(program.as_fd()),
            info_len: size_of::<ProgInfo>() as u32,
            info: (&raw mut info) as u64,
        };
        call(BPF_OBJ_GET_INFO_BY_FD, &mut attr).map_err(fail("BPF_OBJ_GET_INFO_BY_FD"))?;
        if info.name == NAME {
            found.push(program);
        }
    }
    Ok(found)
}

/// bpf(2) with `attr`, whose type is the one that `command` takes.
fn call<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_int, Errno> {
    // SAFETY: the attributes are borrowed through the call with their true length; what they point to is
    // owned by our callers above, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(crate::process::last_errno()),
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
