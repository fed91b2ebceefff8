//! Seccomp profiles: compiled by libseccomp, kept by content, loaded as a blob. Compiling a full profile
//! takes longer than all else in a start (2 to 19 ms), so the bytes are cached in a private directory
//! under the hash of all that they depend on. Not its job: the moment at which the filter is loaded.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    ScmpVersion,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use sha2::{Digest, Sha256};
use sys::seccomp::Filter;

use crate::{Error, Result};

/// Goes into the cache's key: raised when the way of compiling changes.
const GENERATION: u32 = 2;

/// The largest blob: 4096 instructions.
const MAX_BLOB: u64 = 4096 * sys::seccomp::INSTRUCTION_SIZE as u64;

/// The errno of SCMP_ACT_ERRNO and SCMP_ACT_TRACE without `errnoRet` (config-linux.md: EPERM).
const DEFAULT_ERRNO: u32 = 1;

/// Names newer than Debian 12's libseccomp (2.5.4), by number: from 424 to 469 all architectures
/// share them.
const NEWER: &[(&str, i32)] = &[
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
    #[cfg(target_arch = "x86_64")]
    ("uretprobe", 335),
];

/// The filter of `profile`, from `cache` if it lies there; otherwise compiled, and left there.
///
/// # Errors
/// [`Error::Seccomp`] for what can't be compiled. A cache that can't be written is no error.
pub(crate) fn filter(profile: &LinuxSeccomp, cache: &Path) -> Result<Filter> {
    let flags = flags(profile)?;
    let name = key(profile)?;
    if let Ok(bytes) = sys::file::read(cache.join(&name), MAX_BLOB)
        && let Some(filter) = Filter::from_bytes(&bytes, flags)
    {
        return Ok(filter);
    }
    let bytes = compile(profile)?;
    let filter = Filter::from_bytes(&bytes, flags).ok_or_else(|| Error::Seccomp {
        reason: format!(
            "the filter has {} instructions, the kernel takes 4096",
            bytes.len() / 8
        ),
    })?;
    keep(cache, &name, &bytes);
    Ok(filter)
}

/// Whether `profile` can be compiled, which is thrown away.
///
/// # Errors
/// As [`filter`].
pub(crate) fn check(profile: &LinuxSeccomp) -> Result<()> {
    flags(profile)?;
    compile(profile).map(drop)
}

/// A read-only or full disk must not stop a start whose filter is compiled already: the next one compiles again.
fn keep(cache: &Path, name: &str, bytes: &[u8]) {
    let _not_cached = sys::file::create_dir_all(cache, 0o700)
        .and_then(|()| sys::file::open_dir(cache))
        .and_then(|dir| sys::file::replace(dir, name, bytes, 0o600, sys::file::Durability::Memory));
}

fn fail(reason: impl Into<String>) -> Error {
    Error::Seccomp {
        reason: reason.into(),
    }
}

/// The cache's file name: a hash of profile, architecture, library and our own generation.
fn key(profile: &LinuxSeccomp) -> Result<String> {
    let json = serde_json::to_vec(profile).map_err(|e| fail(e.to_string()))?;
    let version = ScmpVersion::current().map_err(|e| fail(e.to_string()))?;
    let mut hash = Sha256::new();
    hash.update(format!(
        "{GENERATION} {} {version}\n",
        std::env::consts::ARCH
    ));
    hash.update(json);
    let mut name = String::with_capacity(64);
    for byte in hash.finalize() {
        let _infallible = write!(name, "{byte:02x}");
    }
    Ok(name)
}

fn flags(profile: &LinuxSeccomp) -> Result<u64> {
    let mut bits = 0_u64;
    for flag in profile.flags().iter().flatten() {
        bits |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 1,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                return Err(fail(
                    "flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY, which is not supported yet",
                ));
            }
        };
    }
    Ok(bits)
}

/// Compiles with the binary tree (optimize=2), which the kernel walks in a third of the time.
fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    let default = action(
        profile.default_action(),
        profile.default_errno_ret(),
        "defaultAction",
    )?;
    let library = |e: libseccomp::error::SeccompError| fail(e.to_string());
    let mut context = ScmpFilterContext::new(default).map_err(library)?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)).map_err(library)?;
    }
    // A call through an ABI that the profile does not name ends the process, not one thread of it: the
    // others would wait for that thread for ever.
    context
        .set_act_badarch(ScmpAction::KillProcess)
        .map_err(library)?;
    context.set_ctl_nnp(false).map_err(library)?;
    context.set_ctl_optimize(2).map_err(library)?;
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        add(&mut context, rule, default, &format!("syscalls[{index}]"))?;
    }
    export(&context).map_err(Error::host("export the seccomp filter"))
}

fn add(
    context: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
    path: &str,
) -> Result<()> {
    let wanted = action(rule.action(), rule.errno_ret(), &format!("{path}.action"))?;
    if wanted == default {
        return Ok(());
    }
    let alternatives = comparisons(rule.args().as_deref().unwrap_or_default(), path)?;
    for name in rule.names() {
        let Some(call) = number(name) else { continue };
        for compare in &alternatives {
            context
                .add_rule_conditional(wanted, call, compare)
                .map_err(|e| fail(format!("{path}: {name}: {e}")))?;
        }
    }
    Ok(())
}

/// The number of a system call on this architecture, as filters know it.
pub(crate) fn call_number(name: &str) -> Option<i32> {
    number(name).map(i32::from)
}

/// A name that neither the library nor the table knows is a call of another architecture or of a kernel
/// newer than both: it falls to the default action, as in every runtime.
fn number(name: &str) -> Option<ScmpSyscall> {
    if let Ok(call) = ScmpSyscall::from_name(name) {
        return Some(call);
    }
    NEWER
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| ScmpSyscall::from_raw_syscall(*number))
}

/// The conditions of one rule. Several on one argument are alternatives (libseccomp takes one an
/// argument), as runc reads them; otherwise all must hold.
fn comparisons(args: &[LinuxSeccompArg], path: &str) -> Result<Vec<Vec<ScmpArgCompare>>> {
    let mut all = Vec::new();
    for arg in args {
        let index = u32::try_from(arg.index()).unwrap_or(u32::MAX);
        if index > 5 {
            return Err(fail(format!(
                "{path}.args: index {} is not in 0 to 5",
                arg.index()
            )));
        }
        all.push((index, ScmpArgCompare::new(index, operator(arg), datum(arg))));
    }
    let mut seen: Vec<u32> = all.iter().map(|(index, _)| *index).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() == all.len() {
        Ok(vec![all.into_iter().map(|(_, c)| c).collect()])
    } else {
        Ok(all.into_iter().map(|(_, c)| vec![c]).collect())
    }
}

fn operator(arg: &LinuxSeccompArg) -> ScmpCompareOp {
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => ScmpCompareOp::Less,
        LinuxSeccompOperator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpEq => ScmpCompareOp::Equal,
        LinuxSeccompOperator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        LinuxSeccompOperator::ScmpCmpGt => ScmpCompareOp::Greater,
        LinuxSeccompOperator::ScmpCmpMaskedEq => ScmpCompareOp::MaskedEqual(arg.value()),
    }
}

fn datum(arg: &LinuxSeccompArg) -> u64 {
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpMaskedEq => arg.value_two().unwrap_or(0),
        _ => arg.value(),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>, path: &str) -> Result<ScmpAction> {
    let errno = errno.unwrap_or(DEFAULT_ERRNO);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(
            i32::try_from(errno)
                .ok()
                .filter(|n| *n <= 4095)
                .ok_or_else(|| fail(format!("{path}: errnoRet {errno} is above 4095")))?,
        ),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(
            u16::try_from(errno)
                .map_err(|_| fail(format!("{path}: errnoRet {errno} is above 65535")))?,
        ),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(fail(format!(
                "{path}: SCMP_ACT_NOTIFY is not supported yet"
            )));
        }
    })
}

fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

/// libseccomp 2.5 exports to an fd only: through a memfd.
fn export(context: &ScmpFilterContext) -> sys::Result<Vec<u8>> {
    let mut file = File::from(sys::file::memory("seccomp")?);
    let io = |e: std::io::Error| sys::SysError::from_io("read", "the filter", &e);
    context.export_bpf(&file).map_err(|e| {
        sys::SysError::new("export", "the filter", sys::Errno::IO).with_note(e.to_string())
    })?;
    file.rewind().map_err(io)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_compiled_profile_is_found_in_the_cache_the_second_time() {
        let cache = tempfile::tempdir().unwrap();
        let profile = profile(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#,
        );
        let first = filter(&profile, cache.path()).unwrap();
        let name = key(&profile).unwrap();
        assert!(sys::file::exists(cache.path().join(&name)).unwrap());
        // Proof that the second one is read: other (valid) content of the file is what we get.
        let half = sys::file::read(cache.path().join(&name), MAX_BLOB).unwrap()[..8].to_vec();
        let dir = sys::file::open_dir(cache.path()).unwrap();
        sys::file::replace(dir, &name, &half, 0o600, sys::file::Durability::Memory).unwrap();
        assert!(first.len() > 1);
        assert_eq!(filter(&profile, cache.path()).unwrap().len(), 1);
    }

    #[test]
    fn an_argument_out_of_range_is_named() {
        let profile = profile(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO",
                "args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        let error = compile(&profile).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.seccomp: syscalls[0].args: index 6 is not in 0 to 5"
        );
    }

    #[test]
    fn conditions_on_one_argument_are_alternatives() {
        let arg = |value: u64| -> LinuxSeccompArg {
            let json = serde_json::json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
            serde_json::from_value(json).unwrap()
        };
        assert_eq!(comparisons(&[arg(1), arg(2)], "x").unwrap().len(), 2);
    }
}
