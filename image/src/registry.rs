//! Registries: images over HTTP, by the distribution spec. Nothing that they answer is trusted: documents
//! and layers go the way of those of an archive.
//! Not its job: the store, and what documents mean.

mod address;
mod blob;
mod challenge;
mod client;
mod credentials;
mod download;
mod endpoint;
mod hosts;
mod login;
mod parts;
mod patience;
#[cfg(test)]
mod play;
mod proxy;
mod pull;
mod push;
mod repository;
mod token;
mod transport;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use self::client::{Client, Scope};
pub use self::credentials::{Credentials, Login};
pub use self::download::{Download, FileFacts, download};
pub use self::login::{domain, log_in};
use self::patience::Patience;
pub(crate) use self::pull::offer;
pub use self::pull::{PullOptions, Pulled, config};
pub use self::push::{PushOptions, Under};
use self::repository::Repository;
use crate::watch::Watch;
use crate::{Reference, Result};

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who we are there.
    pub credentials: Credentials,
    /// They need not prove who they are, and may do without TLS.
    pub insecure: bool,
    /// Where it is said which servers serve a registry.
    folders: Vec<PathBuf>,
    /// How long we wait for them.
    patience: Patience,
}

impl Access {
    /// Access with `credentials`, to the servers that this user's and this host's files name: below
    /// `dhow/certs.d` in the user's settings (as `environment` says) and in /etc, then containerd's and
    /// docker's folders of that name.
    pub fn new(credentials: Credentials, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| {
            environment(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let own = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
        let own = own.map(|own| own.join("dhow/certs.d"));
        let system = ["/etc/dhow", "/etc/containerd", "/etc/docker"];
        let system = system.map(|folder| PathBuf::from(folder).join("certs.d"));
        Self {
            credentials,
            folders: own.into_iter().chain(system).collect(),
            ..Self::default()
        }
    }

    /// The repository of a name, on the servers that may have it.
    fn repository(
        &self,
        name: &Reference,
        scope: Scope,
        watch: Option<Watch>,
    ) -> Result<Repository> {
        let endpoints = hosts::endpoints(&self.folders, name.domain(), self.insecure)?;
        let last = endpoints.len() - 1;
        let credentials = Arc::new(self.credentials.clone());
        let mut clients = Vec::with_capacity(endpoints.len());
        for (n, endpoint) in endpoints.into_iter().enumerate() {
            let mut patience = self.patience;
            if n < last {
                // There is another one to ask.
                patience.attempts = patience.attempts.min(2);
            }
            let credentials = Arc::clone(&credentials);
            clients.push(Client::new(endpoint, scope.clone(), credentials, patience)?);
        }
        Ok(Repository {
            name: format!("{}/{}", name.domain(), name.path()),
            path: name.path().to_owned(),
            clients,
            watch,
        })
    }
}
