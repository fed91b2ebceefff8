//! Namespaces: gives a process its own view of the system. Not its job: limits (cgroups), files (rootfs).
