//! Runtime: leads a container through its life. Not its job: images, flags, words for people.
//!
//! ```text
//!  CreateOptions ── validate ── Plan::new ── record intent ── cgroup ── clone ──► init carries out the plan
//!                   (life/prepare)           (life/create)                        (process/init)
//! ```
//! Every verb is `begin`, a descriptor to wait for, and `finish`; the functions of the verbs' names do all
//! three at once for a caller who has nothing else to look after.

mod account;
mod annotations;
mod bundle;
pub mod conditions;
mod criu;
mod entering;
mod error;
mod features;
pub mod hooks;
mod id;
pub mod judge;
mod life;
mod limits;
pub mod lsm;
pub mod notify;
pub mod plan;
mod privileges;
mod process;
mod program;
mod rdt;
mod repair;
pub mod rootless;
mod seccomp;
mod self_image;
mod state;
mod store;
pub mod validate;

pub use bundle::{Bundle, process};
pub use cgroups::{Driver, controllers};
pub use criu::CgroupMode;
pub use error::{Error, Result, chain};
pub use features::features;
pub use id::ContainerId;
pub use life::checkpoint::{CheckpointOptions, ImageOptions, checkpoint};
pub use life::create::{Created, Creation, Progress, create};
pub use life::delete::{Force, delete};
pub use life::events::{Events, stats};
pub use life::exec::asked::Asked;
pub use life::exec::entrance::Entrance;
pub use life::exec::{Background, ExecOptions, Execution, exec};
pub use life::kill::{Target, kill};
pub use life::list::{Snapshot, list, state};
pub use life::options::{Begin, CreateOptions, Layers, RootSource, Rootless, Stdio};
pub use life::pause::{pause, resume};
pub use life::prepare::plan;
pub use life::ps::processes;
pub use life::restore::restore;
pub use life::run::{Manner, Outcome, run};
pub use life::start::{Starting, start, start_notified};
pub use life::update::{Shares, resources, update};
pub use process::sync::Failure;
pub use repair::capabilities;
pub use self_image::{Aim, guard};
pub use state::{ProcessId, Record, StateReport, Status};
pub use store::{Place, Store, record_in};

/// This moment in RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}
