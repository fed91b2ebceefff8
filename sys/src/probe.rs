//! Which newer kernel features are here; each is asked for once a process. Not its job: the fallbacks.

use std::sync::OnceLock;

use rustix::io::Errno;

use crate::fault;

/// A kernel feature that older kernels lack and for which dhow has another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// openat2(2), Linux 5.6.
    Openat2,
    /// close_range(2) with CLOSE_RANGE_CLOEXEC, Linux 5.11.
    CloseRange,
    /// The mount API whole, from fsopen(2) to mount_setattr(2), Linux 5.12.
    MountApi,
}

impl Feature {
    /// Whether this kernel (and this test's wish, see [`crate::fault`]) has the feature.
    pub fn present(self) -> bool {
        static OPENAT2: OnceLock<bool> = OnceLock::new();
        static CLOSE_RANGE: OnceLock<bool> = OnceLock::new();
        static MOUNT_API: OnceLock<bool> = OnceLock::new();
        let (cell, ask): (_, fn() -> bool) = match self {
            Self::Openat2 => (&OPENAT2, openat2),
            Self::CloseRange => (&CLOSE_RANGE, close_range),
            Self::MountApi => (&MOUNT_API, mount_api),
        };
        *cell.get_or_init(ask)
    }
}

fn openat2() -> bool {
    !fault::broken("no-openat2")
        && !matches!(
            rustix::fs::openat2(
                rustix::fs::CWD,
                ".",
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
                rustix::fs::ResolveFlags::IN_ROOT,
            ),
            // A seccomp profile older than the call answers EPERM (containers/podman#10130).
            Err(Errno::NOSYS | Errno::PERM)
        )
}

fn close_range() -> bool {
    // An empty range far above any fd: nothing is touched, the flag is checked.
    !fault::broken("no-close-range") && crate::descriptor::cloexec_range(u32::MAX, u32::MAX).is_ok()
}

fn mount_api() -> bool {
    !fault::broken("no-mount-api") && crate::mount::set_attr_exists()
}
