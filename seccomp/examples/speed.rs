//! How long a profile of docker's shape takes to compile, how long its program is, and how many instructions run for
//! a frequent call. Run with --release. Not its job: passing or failing.

use std::time::Instant;

use dhow_seccomp as seccomp;
use dhow_seccomp::abi::ABIS;
use dhow_seccomp::machine::{self, Call};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::json;

/// What docker's profile refuses to a container without further capabilities.
const REFUSED: &str = "acct add_key bpf clock_adjtime clock_settime clock_settime64 clone3 create_module \
    delete_module finit_module fsconfig fsmount fsopen fspick get_mempolicy init_module ioperm iopl io_uring_setup \
    io_uring_enter io_uring_register kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr \
    move_mount move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root process_madvise \
    process_vm_readv process_vm_writev quotactl quotactl_fd reboot request_key set_mempolicy \
    set_mempolicy_home_node sethostname setdomainname setns settimeofday stime swapon swapoff sysfs _sysctl syslog \
    umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old clone personality socket";

fn profile(architectures: &[&str]) -> LinuxSeccomp {
    let table = include_str!("../calls.txt");
    let refused: Vec<&str> = REFUSED.split_whitespace().collect();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "name" && *name != "#" && !refused.contains(name))
        .collect();
    let when = |call: &str, value: u64, op: &str, two: u64| {
        json!({"names": [call], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": value, "valueTwo": two, "op": op}]})
    };
    let mut rules = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    for value in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
        rules.push(when("personality", value, "SCMP_CMP_EQ", 0));
    }
    rules.push(when("clone", 0x7e02_0000, "SCMP_CMP_MASKED_EQ", 0));
    rules.push(when("socket", 38, "SCMP_CMP_LT", 0));
    rules.push(when("socket", 39, "SCMP_CMP_EQ", 0));
    rules.push(when("socket", 40, "SCMP_CMP_GT", 0));
    rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": architectures,
                         "syscalls": rules});
    serde_json::from_value(profile).expect("it is a profile")
}

fn main() {
    let three = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    for architectures in [&three[..1], &three[..]] {
        let profile = profile(architectures);
        let mut times: Vec<u128> = (0..200)
            .map(|_| {
                let begin = Instant::now();
                let program = seccomp::compile(&profile);
                assert!(program.is_ok());
                begin.elapsed().as_micros()
            })
            .collect();
        let first = times[0];
        times.sort_unstable();
        let program = seccomp::compile(&profile).expect("it compiled before");
        let abi = &ABIS[0];
        let args = [0; 6];
        let answer = machine::answer(&program.instructions, abi, &Call { number: 0, args });
        println!(
            "{} architectures: first {first} us, median {} us, {} instructions, read: {answer:x?}",
            architectures.len(),
            times[times.len() / 2],
            program.instructions.len(),
        );
    }
}
