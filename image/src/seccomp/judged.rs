//! The calls of the default profile that are judged by an argument: clone, unshare, sockets, personality.
//! Data; not its job: making rules of it.

use Answer::{Allow, Errno};

const EPERM: u32 = 1;
const EPROTONOSUPPORT: u32 = 93;
const EAFNOSUPPORT: u32 = 97;

/// A call that is judged by its arguments. Conditions of different rules of one call never overlap where
/// their answers differ: libseccomp promises no order.
pub(super) struct Judged {
    pub(super) call: &'static str,
    pub(super) answer: Answer,
    /// All must hold, each on another argument.
    pub(super) when: &'static [When],
}

#[derive(Clone, Copy)]
pub(super) enum Answer {
    Allow,
    Errno(u32),
}

/// `argument & mask == value`. Always by mask: the kernel reads an `int` from the lower half of a
/// register, and a comparison of the whole register misses a call whose upper half is not 0.
pub(super) struct When(pub(super) usize, pub(super) u64, pub(super) u64);

/// A bit of clone's and unshare's flags that means a new namespace (linux/sched.h).
pub(super) const NAMESPACES: [u64; 7] = [
    0x0002_0000, // CLONE_NEWNS
    0x0200_0000, // CLONE_NEWCGROUP
    0x0400_0000, // CLONE_NEWUTS
    0x0800_0000, // CLONE_NEWIPC
    0x1000_0000, // CLONE_NEWUSER
    0x2000_0000, // CLONE_NEWPID
    0x4000_0000, // CLONE_NEWNET
];
/// All of them.
pub(super) const ANY_NAMESPACE: u64 = 0x7e02_0000;
/// CLONE_NEWTIME: for unshare only, clone reads the bit as a part of the exit signal.
pub(super) const NEW_TIME: u64 = 0x80;
/// What unshare can part within the container: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
pub(super) const UNSHARE_WITHIN: u64 = 0x0005_0f00;
/// Where clone has its flags.
pub(super) const CLONE_FLAGS: usize = if cfg!(target_arch = "s390x") { 1 } else { 0 };

/// The 32 bits of an `int`.
const INT: u64 = 0xffff_ffff;
const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;

const fn socket(answer: Answer, when: &'static [When]) -> Judged {
    Judged {
        call: "socket",
        answer,
        when,
    }
}

const fn pair(answer: Answer, when: &'static [When]) -> Judged {
    Judged {
        call: "socketpair",
        answer,
        when,
    }
}

const fn personality(answer: Answer, when: &'static [When]) -> Judged {
    Judged {
        call: "personality",
        answer,
        when,
    }
}

/// Families that ordinary programs use; of netlink: routes and addresses, sockets' states, devices' news.
/// Another family below 64 (AF_ALG, AF_VSOCK, AF_PACKET and their kin) is as if the kernel had been built
/// without it, another protocol of netlink too: login programs go on without the audit system then.
pub(super) const SOCKETS: &[Judged] = &[
    socket(Allow, &[When(0, INT, UNIX)]),
    socket(Allow, &[When(0, INT, INET)]),
    socket(Allow, &[When(0, INT, INET6)]),
    socket(Allow, &[When(0, INT, NETLINK), When(2, INT, 0)]), // ROUTE
    socket(Allow, &[When(0, INT, NETLINK), When(2, INT, 4)]), // SOCK_DIAG
    socket(Allow, &[When(0, INT, NETLINK), When(2, INT, 15)]), // KOBJECT_UEVENT
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT, 1)],
    ),
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT & !1, 2)],
    ), // to 3
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT, 5)],
    ),
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT & !1, 6)],
    ), // to 7
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT & !3, 8)],
    ), // to 11
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT & !1, 12)],
    ), // to 13
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT, 14)],
    ),
    socket(
        Errno(EPROTONOSUPPORT),
        &[When(0, INT, NETLINK), When(2, INT & !15, 16)],
    ), // to 31
    socket(Errno(EAFNOSUPPORT), &[When(0, INT, 0)]),
    socket(Errno(EAFNOSUPPORT), &[When(0, INT, 3)]),
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !3, 4)]), // to 7
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !1, 8)]), // to 9
    socket(Errno(EAFNOSUPPORT), &[When(0, INT, 11)]),
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !3, 12)]), // to 15
    socket(Errno(EAFNOSUPPORT), &[When(0, INT, 17)]),
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !1, 18)]), // to 19
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !3, 20)]), // to 23
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !7, 24)]), // to 31
    socket(Errno(EAFNOSUPPORT), &[When(0, INT & !31, 32)]), // to 63
    pair(Allow, &[When(0, INT, UNIX)]),
    pair(Errno(EAFNOSUPPORT), &[When(0, INT, 0)]),
    pair(Errno(EAFNOSUPPORT), &[When(0, INT & !1, 2)]), // to 3
    pair(Errno(EAFNOSUPPORT), &[When(0, INT & !3, 4)]), // to 7
    pair(Errno(EAFNOSUPPORT), &[When(0, INT & !7, 8)]), // to 15
    pair(Errno(EAFNOSUPPORT), &[When(0, INT & !15, 16)]), // to 31
    pair(Errno(EAFNOSUPPORT), &[When(0, INT & !31, 32)]), // to 63
];

/// The sign of 0xffff_ffff, which only asks.
const ASKS: u64 = 0x8000_0000;

/// Asking; PER_LINUX and PER_LINUX32, each with or without UNAME26. The others weaken a program's own
/// memory protection, or call old code (linux/personality.h).
pub(super) const PERSONALITIES: &[Judged] = &[
    personality(Allow, &[When(0, INT, INT)]),
    personality(Allow, &[When(0, INT & !0x2_0008, 0)]),
    personality(Errno(EPERM), &[When(0, ASKS | 0x0004_0000, 0x0004_0000)]), // ADDR_NO_RANDOMIZE
    personality(Errno(EPERM), &[When(0, ASKS | 0x0008_0000, 0x0008_0000)]), // FDPIC_FUNCPTRS
    personality(Errno(EPERM), &[When(0, ASKS | 0x0010_0000, 0x0010_0000)]), // MMAP_PAGE_ZERO
    personality(Errno(EPERM), &[When(0, ASKS | 0x0020_0000, 0x0020_0000)]), // ADDR_COMPAT_LAYOUT
    personality(Errno(EPERM), &[When(0, ASKS | 0x0040_0000, 0x0040_0000)]), // READ_IMPLIES_EXEC
    personality(Errno(EPERM), &[When(0, ASKS | 0x0080_0000, 0x0080_0000)]), // ADDR_LIMIT_32BIT
    personality(Errno(EPERM), &[When(0, ASKS | 0x0100_0000, 0x0100_0000)]), // SHORT_INODE
    personality(Errno(EPERM), &[When(0, ASKS | 0x0200_0000, 0x0200_0000)]), // WHOLE_SECONDS
    personality(Errno(EPERM), &[When(0, ASKS | 0x0400_0000, 0x0400_0000)]), // STICKY_TIMEOUTS
    personality(Errno(EPERM), &[When(0, ASKS | 0x0800_0000, 0x0800_0000)]), // ADDR_LIMIT_3GB
];
