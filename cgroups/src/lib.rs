//! Cgroups: puts a process under limits and accounts for it. Cgroup v2 only. Not its job: what the process sees.
//!
//! ```text
//!  linux.cgroupsPath ── Location::find ──► Cgroup::create ── apply(limits::writes) ── clone into dir()
//!  linux.resources   ── limits::writes ─┘                  └ devices::Filter::attach
//! ```
//! [`limits`] and the rules of [`devices`] are pure: they decide what is written; the rest carries it out.

mod apply;
mod cgroup;
mod controller;
mod delete;
pub mod devices;
mod driver;
mod enable;
mod error;
mod events;
mod freeze;
pub mod inner;
mod interface;
mod kill;
pub mod limits;
mod location;
mod mounts;
mod part;
pub mod stats;
pub mod systemd;
mod update;

pub use cgroup::Cgroup;
pub use controller::Controller;
pub use delete::delete;
pub use driver::Driver;
pub use error::{Error, Result};
pub use events::{Event, Watch};
pub use freeze::is_frozen;
pub use limits::{IfMissing, Write};
pub use location::{Location, can_make, controllers, own};
pub use stats::Stats;
pub use update::Refused;
