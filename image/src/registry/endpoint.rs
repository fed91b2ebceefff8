//! One server that serves a registry: the registry itself, or a mirror of it, and how it is to be reached.
//! Not its job: reaching it, and knowing which there are (`hosts.rs`).

use super::address::Origin;
use super::transport::Trust;
use crate::{Error, Result};

/// Whether a server may be spoken to without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// No.
    Never,
    /// Only if it knows no TLS.
    Fallback,
    /// It is addressed so.
    Always,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Under which name its credentials are kept.
    pub(super) domain: String,
    pub(super) origin: Origin,
    /// The port without TLS, where that may be.
    pub(super) plain_port: u16,
    /// What its paths begin with, `/v2`.
    pub(super) prefix: String,
    /// The registry that a mirror is to speak for.
    pub(super) namespace: Option<String>,
    pub(super) plain: Plain,
    /// Somebody said that it needs no proof of who it is: passwords go there without TLS too.
    pub(super) insecure: bool,
    pub(super) trust: Trust,
    /// Headers that its owner wants to see.
    pub(super) headers: Vec<(String, String)>,
    pub(super) can: Can,
}

/// What a server is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Can {
    /// Say what a tag is.
    pub(super) resolve: bool,
    /// Give what has a digest.
    pub(super) pull: bool,
    pub(super) push: bool,
}

impl Can {
    pub(super) const ALL: Self = Self {
        resolve: true,
        pull: true,
        push: true,
    };
}

impl Endpoint {
    /// The registry itself. What runs on this machine may go without TLS.
    pub(super) fn of_registry(domain: &str, insecure: bool) -> Result<Self> {
        // The name in images is not that of the server.
        let server = match domain {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let refuse = |rule| Error::refused(format!("registry {domain:?}"), rule);
        let origin = Origin::of_domain(server, true).map_err(refuse)?;
        let plain_port = Origin::of_domain(server, false).map_err(refuse)?.port;
        let may_be_plain = insecure || origin.is_loopback();
        Ok(Self {
            domain: domain.to_owned(),
            origin,
            plain_port,
            prefix: "/v2".to_owned(),
            namespace: None,
            plain: match may_be_plain {
                true => Plain::Fallback,
                false => Plain::Never,
            },
            insecure,
            trust: Trust {
                verify: !insecure,
                ..Trust::default()
            },
            headers: Vec::new(),
            can: Can::ALL,
        })
    }
}
