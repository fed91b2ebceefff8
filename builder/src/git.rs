//! Git repositories of servers, by the host's own git: which commit is meant, and its files in a folder of
//! ours. Not its job: reading addresses (`remote`).

mod call;

use image::{Scratch, Store};
use sys::at::OFlags;
use sys::beneath::Root;

use self::call::Git;
use crate::error::{Doing, Error, Result};
use crate::ignore::Ignore;
use crate::remote::Repository;
use crate::tree::{Owners, Tree};

/// A repository's files, as long as it lives.
pub(crate) struct CheckOut {
    /// The files that are meant.
    pub(crate) tree: Tree,
    /// When it was committed, in seconds since 1970.
    pub(crate) time: i64,
    _place: Scratch,
}

/// The commit that is meant: what the server says of the reference now.
///
/// # Errors
/// No git, no answer, no such reference; a commit that is not the one that was promised.
pub(crate) fn commit(store: &Store, repository: &Repository) -> Result<String> {
    let doing = || format!("ask for {}", repository.url);
    let scratch = store.scratch().doing(doing)?;
    let git = Git::new(&scratch, repository)?;
    let reference = repository.reference.as_deref();
    if let Some(commit) = reference.filter(|name| is_commit(name)) {
        return promised(repository, &[commit]).map(|()| commit.to_owned());
    }
    let name = reference.unwrap_or("HEAD");
    let peeled = format!("{name}^{{}}");
    let list = git
        .call(&["ls-remote", "-q", "--", &repository.url, name, &peeled])
        .map_err(|fault| fault.of(repository))?;
    let Some((full, peeled)) = chosen(&list, name) else {
        return Err(Error::Refused(format!(
            "{}: it has no branch or tag {name:?}",
            repository.url
        )));
    };
    let commit = peeled.unwrap_or(full);
    promised(repository, &[commit, full])?;
    Ok(commit.to_owned())
}

/// Fetches a commit's files.
///
/// # Errors
/// As [`commit`]; a folder that is not there.
pub(crate) fn check_out(
    store: &Store,
    repository: &Repository,
    commit: &str,
    keep_git_dir: bool,
) -> Result<CheckOut> {
    let doing = || format!("fetch {}", repository.url);
    let scratch = store.scratch().doing(doing)?;
    let git = Git::new(&scratch, repository)?;
    git.fetch(repository, commit)
        .map_err(|fault| fault.of(repository))?;
    let time = git.time(commit).map_err(|fault| fault.of(repository))?;
    let folder = sys::file::open_path(git.tree()).doing(doing)?;
    if !keep_git_dir {
        sys::file::remove_tree(&folder, ".git").doing(doing)?;
    }
    let root = Root::new(folder);
    let inner = repository.folder.as_deref().unwrap_or("/");
    // A link there leads nowhere else (CVE-2026-33748).
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = root
        .open(format!("./{inner}"), flags)
        .doing(|| format!("open the folder {inner:?} of {}", repository.url))?;
    Ok(CheckOut {
        tree: Tree {
            root: Root::new(root),
            name: repository.url.clone(),
            owners: Owners::Root,
            links: None,
            ignore: Ignore::default(),
            place: None,
        },
        time,
        _place: scratch,
    })
}

/// Whether the commit, or the tag's own object, is what the recipe promises.
fn promised(repository: &Repository, ids: &[&str]) -> Result<()> {
    let Some(checksum) = &repository.checksum else {
        return Ok(());
    };
    let checksum = checksum.to_ascii_lowercase();
    let hex = !checksum.is_empty() && checksum.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        return Err(Error::Refused(format!(
            "checksum {checksum:?}: a commit has hex digits alone"
        )));
    }
    match ids.iter().any(|id| id.starts_with(&checksum)) {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "{}: its commit is {}, not {checksum}",
            repository.url, ids[0]
        ))),
    }
}

fn is_commit(name: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.len() == 40 && name.bytes().all(hex)
}

/// Of what `git ls-remote` lists the one that `name` means: as it is written, a branch, a tag. Gives it, and
/// for a tag with words of its own the commit behind it.
fn chosen<'a>(list: &'a str, name: &str) -> Option<(&'a str, Option<&'a str>)> {
    let lines: Vec<(&str, &str)> = list
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(id, _)| is_commit(id))
        .collect();
    let find = |wanted: &str| {
        let found = lines.iter().find(|(_, known)| *known == wanted);
        found.map(|(id, _)| *id)
    };
    let names = [
        name.to_owned(),
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
    ];
    names
        .iter()
        .find_map(|name| Some((find(name)?, find(&format!("{name}^{{}}")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_name_means_a_branch_before_a_tag() {
        let list = format!("{A}\trefs/heads/x/y\n{B}\trefs/tags/y\n{A}\trefs/tags/y^{{}}\n");
        assert_eq!(chosen(&list, "y"), Some((B, Some(A))));
        assert_eq!(chosen(&list, "x/y"), Some((A, None)));
        assert_eq!(chosen(&list, "refs/tags/y"), Some((B, Some(A))));
        assert_eq!(chosen(&list, "z"), None);
        assert_eq!(chosen("what\trefs/heads/z\n", "z"), None);
        assert_eq!(chosen(&format!("{A}\tHEAD\n"), "HEAD"), Some((A, None)));
    }

    #[test]
    fn a_promise_is_the_beginning_of_a_commit() {
        let with = |checksum: &str| Repository {
            checksum: Some(checksum.to_owned()),
            ..Repository::default()
        };
        assert!(promised(&with("aaaa"), &[A]).is_ok());
        assert!(promised(&with("bbbb"), &[A, B]).is_ok());
        assert!(promised(&with("ab"), &[A]).is_err());
        assert!(promised(&with("-x"), &[A]).is_err());
        assert!(promised(&with(""), &[A]).is_err());
    }
}
