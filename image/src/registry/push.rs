//! Brings an image of the store to a registry: what it has there is not sent, what another repository of it
//! has is mounted, the rest goes as a stream, several blobs at once, and the manifest last. Every byte is
//! the store's own. Not its job: making or compressing layers.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sys::file;
use ureq::http::Method;

use super::Access;
use super::address::Address;
use super::client::{Body, Client, Question, Scope, denied, lock, unanswered};
use super::parts::{Part, Place, layer_parts, parts};
use super::repository::Repository;
use super::transport::Answer;
use crate::digest::mismatch;
use crate::error::Doing;
use crate::store::outgoing::Parcel;
use crate::store::packing::Has;
use crate::store::{Image, Layer, Store};
use crate::watch::{Event, Watch};
use crate::{Digest, Error, Reference, Result};

/// Blobs on their way at once.
const MAX_THREADS: usize = 4;

/// How an image is pushed.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// Who is told of it while it runs.
    pub watch: Option<Watch>,
    /// What the image gets there.
    pub under: Under,
}

/// What a pushed image gets in its repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Under {
    /// The tag that its name says.
    #[default]
    Tag,
    /// Its digest alone; the tag of its name is not touched.
    Digest,
}

impl Store {
    /// Brings `image` to where `name` says, and gives it that tag there. Gives the digest of its manifest.
    ///
    /// # Errors
    /// Names what was asked of whom, and what is wrong with the answer.
    pub fn push(
        &self,
        image: &Image,
        name: &Reference,
        access: &Access,
        options: &PushOptions,
    ) -> Result<Digest> {
        let images = std::slice::from_ref(image);
        self.push_with(images, name, access, options, &mut |_| {
            Parcel::of(self, image)
        })
    }

    /// The same for what `parcel` makes of images of the store, which is told how to ask what the registry has.
    pub(crate) fn push_with(
        &self,
        ours: &[Image],
        name: &Reference,
        access: &Access,
        options: &PushOptions,
        parcel: &mut dyn FnMut(Has<'_>) -> Result<Parcel>,
    ) -> Result<Digest> {
        self.push_to(ours, name, access, options, parcel)
            .map_err(|e| e.inside(format!("push {}", name.familiar())))
    }

    fn push_to(
        &self,
        ours: &[Image],
        name: &Reference,
        access: &Access,
        options: &PushOptions,
        parcel: &mut dyn FnMut(Has<'_>) -> Result<Parcel>,
    ) -> Result<Digest> {
        let (Some(tag), None) = (name.tag(), name.digest()) else {
            let rule = "to push, it needs a tag and no digest";
            return Err(Error::refused("the name", rule));
        };
        let layers: Vec<Layer> = ours.iter().flat_map(|i| i.layers.clone()).collect();
        let _lease = self.hold(&layers)?;
        let images = self.images()?;
        let mounts = layer_parts(layers.iter(), &images, name);
        let others: BTreeSet<String> = mounts.iter().flat_map(|p| p.mounts.clone()).collect();
        let scope = Scope::Push(name.path().to_owned(), others.into_iter().collect());
        let repository = access.repository(name, scope, options.watch.clone())?;
        let client = repository
            .clients
            .last()
            .filter(|client| client.endpoint.can.push)
            .ok_or_else(|| Error::refused("the registry", "no server of it takes pushes"))?;
        let pusher = Pusher {
            store: self,
            repository: &repository,
            client,
        };
        let parcel = parcel(&|descriptor| pusher.has(descriptor.digest))?;
        pusher.all(&parts(&parcel, &images, name))?;
        let mut last = Err(Error::refused("the push", "there is no image"));
        for (n, (media_type, bytes)) in parcel.manifests.iter().enumerate() {
            let digest = Digest::of(bytes);
            let tagged = options.under == Under::Tag && n + 1 == parcel.manifests.len();
            last = match tagged {
                true => pusher.document(tag, media_type, bytes, digest),
                false => pusher.document(&digest.to_string(), media_type, bytes, digest),
            };
            if last.is_err() {
                break;
            }
        }
        last
    }
}

/// An image on its way.
struct Pusher<'a> {
    store: &'a Store,
    repository: &'a Repository,
    client: &'a Client,
}

impl Pusher<'_> {
    /// All blobs, several at once; the first fault stops the others before their next one.
    fn all(&self, parts: &[Part]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..MAX_THREADS.min(parts.len()) {
                scope.spawn(|| {
                    while lock(&failed).is_none() {
                        let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return;
                        };
                        if let Err(e) = self.one(part) {
                            lock(&failed).get_or_insert(e);
                        }
                    }
                });
            }
        });
        failed
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }

    /// Whether the registry has a blob in this repository.
    fn has(&self, digest: Digest) -> Result<bool> {
        let path = format!("/{}/blobs/{digest}", self.repository.path);
        let head = Question::new(Method::HEAD, self.client.at(&path)?);
        let answer = self.client.ask(&head)?;
        match answer.status {
            200 => Ok(true),
            401 | 403 => Err(denied(head.name(), answer)),
            _ => Ok(false),
        }
    }

    /// A manifest or index, by its digest or under a tag.
    fn document(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        digest: Digest,
    ) -> Result<Digest> {
        let path = format!("/{}/manifests/{name}", self.repository.path);
        let question = Question::new(Method::PUT, self.client.at(&path)?)
            .header("content-type", media_type)
            .sending(Body::Bytes(bytes));
        let answer = self.client.ask(&question)?;
        if !matches!(answer.status, 200..=202) {
            return Err(denied(question.name(), answer));
        }
        match answer
            .header("docker-content-digest")
            .map(str::parse::<Digest>)
        {
            Some(Ok(said)) if said != digest => Err(mismatch(
                "the manifest that it has now",
                "digest",
                digest,
                said,
            )),
            _ => Ok(digest),
        }
    }

    /// One blob, if the registry lacks it.
    fn one(&self, part: &Part) -> Result<()> {
        if self.has(part.digest)? {
            return Ok(());
        }
        let path = format!("/{}/blobs/{}", self.repository.path, part.digest);
        let mut made = 1;
        loop {
            let Some(place) = self.begin(part)? else {
                return Ok(());
            };
            let fault = match self.send(part, place, &path) {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            let passing = match &fault {
                Error::Unanswered { .. } => true,
                Error::Denied { status, .. } => matches!(status, 408 | 416 | 429 | 500..=599),
                _ => false,
            };
            // An upload that broke can't be gone on with everywhere: a new one is begun.
            match self.client.patience.wait(made, None).filter(|_| passing) {
                Some(wait) => thread::sleep(wait),
                None => return Err(fault),
            }
            made += 1;
        }
    }

    /// The whole blob in one request; `shown` stands for its address, which may hold a secret.
    fn send(&self, part: &Part, place: Address, shown: &str) -> Result<()> {
        let (digest, size) = (part.digest, part.size);
        self.repository.tell(&Event::Begin { size });
        let open = || -> Result<Box<dyn Read + '_>> {
            let from = self.open(part)?;
            let repository = self.repository;
            Ok(Box::new(Told { from, repository }))
        };
        let question = Question::new(Method::PUT, place.with("digest", &digest.to_string()))
            .header("content-type", "application/octet-stream")
            .sending(Body::Stream(&open, size))
            .once();
        let answer = self.client.ask(&question)?;
        match answer.status {
            201 | 204 => Ok(()),
            _ => Err(denied(format!("PUT {shown}"), answer)),
        }
    }

    /// Begins an upload and gives its address; `None` if the blob could be mounted instead.
    fn begin(&self, part: &Part) -> Result<Option<Address>> {
        let path = format!("/{}/blobs/uploads/", self.repository.path);
        for from in &part.mounts {
            let address = self.client.at(&path)?;
            let address = address
                .with("mount", &part.digest.to_string())
                .with("from", from);
            let question = Question::new(Method::POST, address);
            let answer = self.client.ask(&question)?;
            match answer.status {
                201 => return Ok(None),
                // Not mounted, but an upload has begun.
                202 => return location(&question, &answer).map(Some),
                _ => {}
            }
        }
        let question = Question::new(Method::POST, self.client.at(&path)?);
        let answer = self.client.ask(&question)?;
        match answer.status {
            202 => location(&question, &answer).map(Some),
            _ => Err(denied(question.name(), answer)),
        }
    }

    /// A blob from its first byte.
    fn open<'p>(&self, part: &'p Part) -> Result<Box<dyn Read + 'p>> {
        let path = match &part.from {
            Place::Bytes(bytes) => return Ok(Box::new(&bytes[..])),
            Place::Aside(path) => path.clone(),
            Place::Store => self
                .store
                .path()
                .join("blobs/sha256")
                .join(part.digest.hex()),
        };
        let doing = || format!("read blob {}", part.digest);
        let file = file::open(&path).doing(doing)?;
        let length = file
            .metadata()
            .map_err(|e| sys::SysError::from_io("fstat", path.display(), &e))
            .doing(doing)?
            .len();
        match length == part.size {
            true => Ok(Box::new(file)),
            false => Err(mismatch(
                format!("blob {}", part.digest),
                "size",
                part.size,
                length,
            )),
        }
    }
}

/// Where an upload goes. It may be another host's; nothing but the blob is sent there.
fn location(question: &Question<'_>, answer: &Answer) -> Result<Address> {
    let location = answer.header("location").unwrap_or_default();
    let refuse = |rule: &str| {
        let location: String = location.chars().take(200).collect();
        let reason = format!("it wants the blob at {location:?}: {rule}");
        unanswered(question.name(), reason)
    };
    let to = question.address.join(location).map_err(refuse)?;
    match question.address.origin.tls && !to.origin.tls {
        true => Err(refuse("that would be without TLS")),
        false => Ok(to),
    }
}

/// Tells of the bytes that pass.
struct Told<'a> {
    from: Box<dyn Read + 'a>,
    repository: &'a Repository,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.repository.tell(&Event::Passed(count as u64));
        Ok(count)
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
