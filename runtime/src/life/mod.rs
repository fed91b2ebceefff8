//! The verbs of a container's life, one file each.

pub(crate) mod cgroup;
pub(crate) mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod made;
pub(crate) mod members;
pub(crate) mod options;
pub(crate) mod pause;
pub(crate) mod prepare;
pub(crate) mod ps;
pub(crate) mod relay;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod update;
