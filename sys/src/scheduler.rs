//! How the kernel schedules a process: policy, I/O priority, processors, the nodes of its memory; and its
//! execution domain. Not its job: the names of these in a spec.

use crate::process::last_errno;
use crate::{Result, SysError};

/// sched_setattr(2)'s structure (SCHED_ATTR_SIZE_VER1).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Set by [`set_attributes`].
    pub size: u32,
    /// SCHED_OTHER is 0, SCHED_FIFO 1, and so on.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub runtime: u64,
    /// As runtime.
    pub deadline: u64,
    /// As runtime.
    pub period: u64,
    /// For SCHED_FLAG_UTIL_CLAMP_MIN; the spec has no value for it.
    pub util_min: u32,
    /// As util_min.
    pub util_max: u32,
}

/// Sets the scheduling of the process `pid` (0: our own).
///
/// # Errors
/// As sched_setattr(2): EPERM without CAP_SYS_NICE, EBUSY where the deadline can't be promised.
pub fn set_attributes(pid: i32, attributes: &Attributes) -> Result<()> {
    let mut attributes = *attributes;
    attributes.size = u32::try_from(size_of::<Attributes>()).unwrap_or(0);
    // SAFETY: the structure lives through the call, and the kernel only reads it.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0_u32) };
    done("sched_setattr", result)
}

/// Sets the I/O priority of the process `pid` (0: our own): a class (IOPRIO_CLASS_*) and a level in it.
///
/// # Errors
/// As ioprio_set(2): EPERM for the real-time class without CAP_SYS_NICE.
pub fn set_io_priority(pid: i32, class: u16, level: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: three numbers; no memory of ours is touched.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) };
    done("ioprio_set", result)
}

/// Sets on which processors the process `pid` (0: our own) may run: bit n of the words is processor n.
/// There may be any number of words: cpu_set_t's limit of 1024 processors is not the kernel's.
///
/// # Errors
/// As sched_setaffinity(2): EINVAL if none of them is there.
pub fn set_affinity(pid: i32, mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as are said to be there.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            pid,
            size_of_val(mask),
            mask.as_ptr(),
        )
    };
    done("sched_setaffinity", result)
}

/// On which processors the process `pid` (0: our own) may run, as [`set_affinity`] takes it.
///
/// # Errors
/// As sched_getaffinity(2).
pub fn affinity(pid: i32) -> Result<Vec<u64>> {
    // Room for 65536 processors: the kernel wants as much as it was built for, which is less.
    let mut mask = vec![0_u64; 1024];
    // SAFETY: the kernel writes no more bytes than it is told that there are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            pid,
            size_of_val(mask.as_slice()),
            mask.as_mut_ptr(),
        )
    };
    let written = usize::try_from(result).unwrap_or(0);
    mask.truncate(written.div_ceil(8));
    done("sched_getaffinity", result).map(|()| mask)
}

/// From which nodes our memory is to come (and that of what we become): `mode` is an MPOL_* number with
/// MPOL_F_* bits, bit n of the words is node n.
///
/// # Errors
/// As set_mempolicy(2): EINVAL for nodes that are not there, ENOSYS on a kernel without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told of.
    let (pointer, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), size_of_val(nodes) * 8 + 1),
    };
    // SAFETY: the kernel reads no further than the bits that are said to be there.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    done("set_mempolicy", result)
}

/// Sets our execution domain (PER_* number): what a 32-bit system would look like, say.
///
/// # Errors
/// As personality(2).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: one number; no memory of ours is touched.
    let result = unsafe { libc::personality(libc::c_ulong::from(domain)) };
    done("personality", libc::c_long::from(result))
}

fn done(call: &'static str, result: libc::c_long) -> Result<()> {
    match result {
        -1 => Err(SysError::new(call, "", last_errno())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;

    #[test]
    fn a_policy_that_does_not_exist_is_refused_by_the_kernel() {
        let attributes = Attributes {
            policy: 99,
            ..Attributes::default()
        };
        assert_eq!(
            set_attributes(0, &attributes).unwrap_err().errno,
            Errno::INVAL
        );
    }

    #[test]
    fn an_affinity_of_more_than_1024_processors_is_taken() {
        let mut mask = [0; 64];
        mask[0] = u64::MAX;
        let before = affinity(0).unwrap();
        assert!(before.iter().any(|word| *word != 0));
        set_affinity(0, &mask).unwrap();
        set_affinity(0, &before).unwrap();
        assert_eq!(
            set_affinity(0, &[0; 64]).unwrap_err().errno,
            Errno::INVAL,
            "no processor at all"
        );
    }
}
