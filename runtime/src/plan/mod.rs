//! The start of a container as data: everything is decided here, before any process is made.
//! Not its job: doing any of it (process).

mod build;
mod cred;
mod exec;
mod outside;
mod parent_step;
mod program;
mod request;
mod step;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use cred::SYS_ADMIN;
pub use cred::{Credentials, CredentialsText, capability_names};
pub use exec::ExecRequest;
pub use parent_step::ParentStep;
pub use program::Filtering;
pub use request::{CgroupFacts, Request};
pub use step::{Limit, Plan, RootPlace, Step};
