//! Registries: images over HTTP, by the distribution spec. Nothing that they answer is trusted: documents
//! and layers go the way of those of an archive.
//! Not its job: the store, and what documents mean.

mod address;
mod blob;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod login;
mod patience;
#[cfg(test)]
mod play;
mod pull;
mod push;
mod repository;
mod token;
mod transport;

use std::sync::Arc;

use self::client::{Client, Scope};
pub use self::credentials::{Credentials, Login};
use self::endpoint::Endpoint;
pub use self::login::{domain, log_in};
use self::patience::Patience;
pub use self::pull::{PullOptions, Pulled};
pub use self::push::PushOptions;
use self::repository::Repository;
use crate::{Digest, Reference, Result};

/// What happens while an image comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A layer begins.
    Begin {
        /// The digest of its blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// So many bytes of layers have come or gone.
    Passed(u64),
}

/// Is told of events, from any thread.
pub type Watch = Arc<dyn Fn(&Event) + Send + Sync>;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who we are there.
    pub credentials: Credentials,
    /// They need not prove who they are, and may do without TLS.
    pub insecure: bool,
    /// How long we wait for them.
    patience: Patience,
}

impl Access {
    /// Access with `credentials`.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
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
        let endpoints = vec![Endpoint::of_registry(name.domain(), self.insecure)?];
        let credentials = Arc::new(self.credentials.clone());
        let client = |endpoint| {
            Client::new(
                endpoint,
                scope.clone(),
                Arc::clone(&credentials),
                self.patience,
            )
        };
        let clients = endpoints.into_iter().map(client).collect::<Result<_>>()?;
        Ok(Repository {
            name: format!("{}/{}", name.domain(), name.path()),
            path: name.path().to_owned(),
            clients,
            watch,
        })
    }
}
