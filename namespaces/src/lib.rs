//! Namespaces: gives a process its own view of the system. Not its job: limits (cgroups), files (rootfs).
//!
//! ```text
//!  spec ── NamespaceSet::from_spec ── Shape::of ──► Direct: SteppedIn, one clone, IdMaps::write,
//!          (what is asked)            (how)                 child: join::enter, unshare cgroup
//!                                                   Staged: a middle process joins, then the same
//! ```
//! [`set`] and [`shape`] decide and touch nothing; the other files carry out one step each.

pub mod devices;
mod error;
mod id_maps;
pub mod join;
mod kind;
pub mod mount_ids;
pub mod network;
mod of_process;
pub mod set;
pub mod shape;
pub mod time;
pub mod user;
pub mod uts;

pub use devices::NetDevice;
pub use error::{Error, Result};
pub use id_maps::IdMaps;
pub use kind::Namespace;
pub use mount_ids::MountIds;
pub use of_process::OfProcess;
pub use set::{Join, NamespaceSet};
pub use shape::{Rights, Shape, Stage, Start};
pub use time::TimeOffsets;
pub use user::IdMap;
