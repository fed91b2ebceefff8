//! Rootfs: builds the file system a container sees.
//!
//! The order of a start, and why it is this one (the runtime's plan follows it):
//!
//! 1. [`pivot::isolate`]: first of all, so that no mount of ours travels to the host.
//! 2. [`pivot::attach_root`]: the root becomes a mount of this namespace; all else is mounted below its fd.
//! 3. [`attach::attach`] for each [`MountStep`], in the spec's order.
//! 4. [`nodes`]: device files and links, after the mount on `/dev` that holds them.
//! 5. [`console`]: its terminal comes from the devpts just mounted.
//! 6. [`pivot::pivot`]: the host's tree goes out of sight.
//! 7. [`protect`]: masked and read-only paths, by fd from the new root.
//! 8. [`pivot::make_read_only`] and [`pivot::set_propagation`]: last, for all before must write.
//!
//! Unless said otherwise a function here runs in the container's first process: in its own mount
//! namespace, with the host's tree still in sight until the pivot, single-threaded, with umask 0.
//! Each does one thing; its [`Error`] carries the errno and the kernel's text, so that they can cross
//! to the parent as data. Nothing here resolves a path string below the rootfs but by
//! [`sys::beneath::Root`]: images are hostile, and a volume may change while we look.
//! Not its job: unpacking layers, writing sysctls, asking for namespaces.

pub mod attach;
pub mod console;
mod copy_up;
mod destination;
pub mod devices;
mod error;
pub mod mounts;
pub mod nodes;
pub mod options;
pub mod overlay;
pub mod pivot;
pub mod protect;
mod words;

pub use attach::{attach, prepare};
pub use console::{Console, Size};
pub use devices::{Device, devices, needed, wanted};
pub use error::Error;
pub use mounts::{CgroupView, MountStep, Surroundings, What, steps};
pub use nodes::{Nodes, link, make};
pub use overlay::Overlay;
pub use pivot::{
    attach_root, attach_root_near, chroot, copy_of, detached, enter_only, isolate, make_read_only,
    open_root, pivot, propagation, set_propagation,
};
pub use protect::Masks;
