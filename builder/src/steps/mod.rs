//! One kind of instruction each: what it means, and how it is carried out. Not its job: their order.

pub(crate) mod agent;
pub(crate) mod archive;
pub(crate) mod caches;
pub(crate) mod chown;
pub(crate) mod container;
pub(crate) mod copy;
pub(crate) mod directories;
pub(crate) mod files;
pub(crate) mod fresh;
pub(crate) mod from;
pub(crate) mod kept;
pub(crate) mod metadata;
pub(crate) mod mounting;
pub(crate) mod network;
pub(crate) mod owner;
pub(crate) mod place;
pub(crate) mod planned;
pub(crate) mod put;
pub(crate) mod rootless;
pub(crate) mod run;
pub(crate) mod secrets;
pub(crate) mod spec;
pub(crate) mod web;
pub(crate) mod workdir;
