//! What a build takes from servers beside images: files and commits, by their addresses and digests. Not its job: getting
//! it.

use std::fs::File;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fingerprint::{CHUNK, Sum, hex, pour};
use crate::remote::Repository;

/// Something that came from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Material {
    /// Its address, without what may be secret of it.
    address: String,
    /// The kind of its digest, in in-toto's words.
    kind: String,
    /// Its digest in hex.
    digest: String,
}

impl Material {
    /// A file of a web server with this content.
    pub(crate) fn file(url: &str, sum: &Sum) -> Self {
        Self {
            address: without_user(url),
            kind: "sha256".to_owned(),
            digest: hex(sum),
        }
    }

    /// The same, of which the content is in `file`, from its place there.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn of_file(url: &str, file: &File) -> sys::Result<Self> {
        let sum = pour(file, None, &mut vec![0; CHUNK], |_| Ok(()))?;
        Ok(Self::file(url, &sum))
    }

    /// A commit of a repository.
    pub(crate) fn commit(repository: &Repository, commit: &str) -> Self {
        let mut address = without_user(&repository.url);
        if let Some(reference) = &repository.reference {
            address.push('#');
            address.push_str(reference);
        }
        // Repositories of the newer kind name their commits by SHA-256.
        let kind = if commit.len() == 64 { "sha256" } else { "sha1" };
        Self {
            address,
            kind: kind.to_owned(),
            digest: commit.to_owned(),
        }
    }

    /// As provenance has it.
    pub(crate) fn descriptor(&self) -> Value {
        json!({"uri": self.address, "digest": {&self.kind: self.digest}})
    }
}

/// An address without the name and password, or token, that it may hold.
fn without_user(address: &str) -> String {
    let address = address.split(['?']).next().unwrap_or_default();
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find('/').unwrap_or(rest.len());
            let user = rest[..host].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[user..])
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_what_may_be_secret() {
        for (address, shown) in [
            ("https://u:p@h/x?token=1", "https://h/x"),
            ("https://h/a@b", "https://h/a@b"),
            ("git@h:a/b.git", "git@h:a/b.git"),
            ("https://h/r.git#main", "https://h/r.git#main"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }

    #[test]
    fn a_commit_is_named_with_its_reference() {
        let repository = Repository {
            url: "ssh://me@h/r.git".to_owned(),
            reference: Some("refs/tags/v1".to_owned()),
            ..Repository::default()
        };
        for (length, kind) in [(40, "sha1"), (64, "sha256")] {
            let commit = "a".repeat(length);
            assert_eq!(
                Material::commit(&repository, &commit).descriptor(),
                json!({"uri": "ssh://h/r.git#refs/tags/v1", "digest": {kind: commit}})
            );
        }
    }
}
