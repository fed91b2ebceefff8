//! Network: gives a container its way to other machines, and none to the host's own services.
//!
//! ```text
//!  container's namespace                the host's
//!  eth0 ──────────── a pair ─────────── dhow-b0 ── forwarding ── translation ── the way out
//!  pool, route                          firewall: nothing to the host, nothing between steps
//! ```
//! A file that makes messages (link, address, route, rule) is pure; [`Outbound`] carries them out. The name of
//! the host's end is the lease of the addresses: the kernel gives it to one taker, and takes it back with the
//! container. Not its job: which container wants which network, and flags.

mod address;
mod error;
mod expression;
mod firewall;
mod forwarding;
mod link;
mod outbound;
mod pool;
mod prefix;
mod resolver;
mod route;
mod rule;
mod survey;
mod user_mode;

pub use error::{Error, Result};
pub use outbound::{Outbound, clear};
pub use prefix::Prefix;
pub use resolver::{Resolver, Unreachable};
pub use user_mode::UserMode;
