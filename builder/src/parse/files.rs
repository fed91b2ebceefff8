//! COPY and ADD: flags, sources, target. Not its job: finding the sources.

use super::Request;
use super::flags::Flags;
use crate::diagnostic::{Checked, Fault};
use crate::heredoc::Heredoc;
use crate::instruction::{Add, Files};
use crate::words::Word;

/// COPY.
pub(super) fn copy(request: &Request<'_>) -> Checked<Files> {
    let known = ["from", "chown", "chmod", "link", "parents", "exclude*"];
    let flags = Flags::read(&request.parts.flags, &known)?;
    files(request, &flags)
}

/// ADD.
pub(super) fn add(request: &Request<'_>) -> Checked<Add> {
    let known = [
        "chown",
        "chmod",
        "link",
        "exclude*",
        "keep-git-dir",
        "checksum",
        "unpack",
    ];
    let flags = Flags::read(&request.parts.flags, &known)?;
    let files = files(request, &flags)?;
    Ok(Add {
        files,
        checksum: flags.value("checksum")?,
        keep_git_dir: flags.choice("keep-git-dir")?.map(|(on, _)| on),
        unpack: flags.choice("unpack")?.map(|(on, _)| on),
    })
}

fn files(request: &Request<'_>, flags: &Flags) -> Checked<Files> {
    let mut words = request.list()?;
    let target = match words.pop() {
        Some(target) if !words.is_empty() => target,
        _ => {
            return request.fault(format!(
                "{} requires at least two arguments, but only {} provided. Destination could not be \
                 determined",
                request.name,
                if request.rest().is_empty() { "zero were" } else { "one was" }
            ));
        }
    };
    if Heredoc::of_word(&target.text).is_some() {
        return Err(Fault::new(
            target.span,
            format!("{} cannot accept a heredoc as a destination", request.name),
        ));
    }
    let mut bodies = request.line.heredocs.iter();
    let mut heredocs = Vec::new();
    let mut sources = Vec::new();
    for word in words {
        match Heredoc::of_word(&word.text) {
            Some(heredoc) => {
                let body = bodies.next().cloned();
                file_name(request, &word, body.as_ref().unwrap_or(&heredoc))?;
                heredocs.extend(body);
            }
            None => sources.push(word),
        }
    }
    let chmod = flags.value("chmod")?;
    Ok(Files {
        from: flags.value("from")?,
        chown: flags.value("chown")?,
        chmod,
        link: flags.switch("link")?,
        parents: flags.switch("parents")?,
        exclude: flags.values("exclude")?,
        sources,
        heredocs,
        target,
    })
}

/// A heredoc's name is the name of its file in the target, where no folders are made for it.
fn file_name(request: &Request<'_>, word: &Word, heredoc: &Heredoc) -> Checked<()> {
    if !heredoc.name.contains('/') && !matches!(heredoc.name.as_str(), "." | "..") {
        return Ok(());
    }
    Err(Fault::new(
        word.span,
        format!(
            "{} names its file by the heredoc's word, and {:?} is no file name",
            request.name, heredoc.name
        ),
    ))
}
