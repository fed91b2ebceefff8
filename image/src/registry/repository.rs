//! A repository of a registry, on the servers that have it: documents by tag and by digest, layers by
//! digest. Not its job: what to do with them.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use ureq::http::Method;

use super::blob::{Reader, RemoteBlob};
use super::client::{Client, Question, denied, read_body, unanswered};
use super::patience::Patience;
use crate::digest::mismatch;
use crate::json::{self, MAX_DOCUMENT};
use crate::manifest::{self, Descriptor};
use crate::offer::Content;
use crate::source::Blob;
use crate::watch::{Event, Watch};
use crate::{Digest, Error, Reference, Result};

/// A repository.
pub(super) struct Repository {
    /// As people write it.
    pub(super) name: String,
    /// Below each server's API.
    pub(super) path: String,
    /// Who may have it: mirrors first, the registry itself last.
    pub(super) clients: Vec<Client>,
    pub(super) watch: Option<Watch>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.name)
    }
}

/// A document that a tag or a digest led to, and the repository it is in: what an image is gathered from.
pub(super) struct Tagged {
    pub(super) repository: Arc<Repository>,
    /// What it is; its size and digest are those of the bytes.
    pub(super) descriptor: Descriptor,
    bytes: Vec<u8>,
}

impl Repository {
    pub(super) fn patience(&self) -> Patience {
        self.clients
            .first()
            .map(|client| client.patience)
            .unwrap_or_default()
    }

    pub(super) fn tell(&self, event: &Event) {
        if let Some(watch) = &self.watch {
            watch(event);
        }
    }

    /// The document of a name: by its digest if it has one, else by its tag.
    pub(super) fn resolve(self: Arc<Self>, name: &Reference) -> Result<Tagged> {
        let by_digest = name.digest().map(|digest| digest.to_string());
        let by = by_digest.as_deref().or(name.tag()).unwrap_or("latest");
        let mut failed = None;
        for client in &self.clients {
            let can = client.endpoint.can;
            if !(if by_digest.is_some() {
                can.pull
            } else {
                can.resolve
            }) {
                continue;
            }
            match self.document_by(client, by, name.digest()) {
                Ok((bytes, media_type)) => {
                    let descriptor =
                        Descriptor::new(&media_type, Digest::of(&bytes), bytes.len() as u64);
                    return Ok(Tagged {
                        descriptor,
                        bytes,
                        repository: Arc::clone(&self),
                    });
                }
                Err(e) => failed = Some(e),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let what = format!("registry {}", name.domain());
            Error::refused(
                what,
                "its hosts.toml names no server that can resolve a tag",
            )
        }))
    }

    /// A manifest or index and its type, from one server.
    fn document_by(
        &self,
        client: &Client,
        by: &str,
        promised: Option<Digest>,
    ) -> Result<(Vec<u8>, String)> {
        let path = format!("/{}/manifests/{by}", self.path);
        let question =
            Question::new(Method::GET, client.at(&path)?).header("accept", manifest::ACCEPT);
        let mut made = 1;
        loop {
            let answer = client.ask(&question)?;
            if answer.status != 200 {
                return Err(denied(question.name(), answer));
            }
            if answer
                .body
                .content_length()
                .is_some_and(|length| length > MAX_DOCUMENT)
            {
                let rule = format!("larger than {MAX_DOCUMENT} bytes");
                return Err(Error::refused(question.name(), rule));
            }
            let said_type = answer.header("content-type").map(str::to_owned);
            let said_digest = answer.header("docker-content-digest").map(str::to_owned);
            if let Some(bytes) = read_body(answer, MAX_DOCUMENT) {
                let found = Digest::of(&bytes);
                let said_digest = said_digest.and_then(|digest| digest.parse().ok());
                for promised in promised.into_iter().chain(said_digest) {
                    if promised != found {
                        return Err(mismatch(question.name(), "digest", promised, found));
                    }
                }
                return Ok((bytes.clone(), type_of(said_type.as_deref(), &bytes)?));
            }
            match self.patience().wait(made, None) {
                Some(wait) => thread::sleep(wait),
                None => {
                    let reason = "the answer is cut short, or too long".to_owned();
                    return Err(unanswered(question.name(), reason));
                }
            }
            made += 1;
        }
    }
}

impl Content for Tagged {
    fn document(&self, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.digest == self.descriptor.digest {
            return Ok(self.bytes.clone());
        }
        if descriptor.size > MAX_DOCUMENT {
            let rule = format!("larger than {MAX_DOCUMENT} bytes");
            return Err(Error::refused(what, rule));
        }
        let repository = &self.repository;
        if descriptor.is_manifest() || descriptor.is_index() {
            let mut failed = None;
            for client in repository.clients.iter().filter(|c| c.endpoint.can.pull) {
                let digest = descriptor.digest;
                match repository.document_by(client, &digest.to_string(), Some(digest)) {
                    Ok((bytes, _)) => return Ok(bytes),
                    Err(e) => failed = Some(e),
                }
            }
            return Err(failed.unwrap_or_else(|| crate::source::missing(what)));
        }
        let mut bytes = Vec::new();
        Reader::new(Arc::clone(repository), descriptor.digest, descriptor.size)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::refused(what, e.to_string()))?;
        Ok(bytes)
    }

    fn layer(&self, descriptor: &Descriptor) -> Result<Option<Arc<dyn Blob>>> {
        Ok(Some(Arc::new(RemoteBlob {
            repository: Arc::clone(&self.repository),
            digest: descriptor.digest,
            size: descriptor.size,
        })))
    }
}

/// The type of a document: what the answer says where that is one of ours, else what the document says.
fn type_of(said: Option<&str>, bytes: &[u8]) -> Result<String> {
    let said = said
        .and_then(|said| said.split(';').next())
        .unwrap_or_default()
        .trim();
    let known = Descriptor::new(said, Digest::of(b""), 0);
    if known.is_index() || known.is_manifest() {
        return Ok(said.to_owned());
    }
    let value = json::parse("manifest", bytes)?;
    match value.get("mediaType").and_then(Value::as_str) {
        Some(own) => Ok(own.to_owned()),
        None if value.get("manifests").is_some() => Ok(manifest::OCI_INDEX.to_owned()),
        None => Ok(manifest::OCI_MANIFEST.to_owned()),
    }
}
