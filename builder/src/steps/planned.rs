//! RUN, COPY and ADD with their variables filled in, and what of them dhow does not do yet. Pure. Not its
//! job: carrying them out.

use std::sync::Arc;

use crate::diagnostic::{Checked, Fault};
use crate::evaluate::State;
use crate::expand::{Expander, Quotes};
use crate::heredoc::Heredoc;
use crate::instruction::{Add, CommandLine, Files, MountKind, Run, Security};
use crate::mode::ModeChange;
use crate::parse::is_remote;
use crate::plan::{CopyStep, RunStep};
use crate::request::{self, NetworkDefault};
use crate::source::Span;
use crate::stages;
use crate::steps::metadata::{arguments, clean};
use crate::words::Word;

/// Where heredoc scripts are while they run.
pub(crate) const SCRIPTS: &str = "/dev/pipes";

/// RUN, and why it can't be done.
pub(crate) fn run(
    state: &mut State<'_>,
    run: &Run,
    span: Span,
) -> Checked<(RunStep, Option<String>)> {
    let mut script = None;
    let command = match (&run.command, run.heredocs.as_slice()) {
        (CommandLine::Shell(text), [first, ..]) => {
            let (text, found) = with_heredocs(text, first, &run.heredocs);
            script = found;
            CommandLine::Shell(text)
        }
        (command, _) => command.clone(),
    };
    check_mounts(state, run)?;
    let network = request::network(run.network, state.scope.settings.network);
    let refusal = refused_in_run(run).or_else(|| network.clone().err());
    let mut env = state.env(span)?;
    if let Some(socket) = ssh_socket(run) {
        let mut with = env.as_ref().clone();
        with.push(format!("SSH_AUTH_SOCK={socket}"));
        env = Arc::new(with);
    }
    let step = RunStep {
        args: arguments(state, &command),
        env,
        cwd: match state.config.working_dir.as_str() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        },
        user: state.config.user.clone(),
        network: network.unwrap_or(NetworkDefault::None),
        script,
        proxies: state.proxies(),
    };
    Ok((step, refusal))
}

/// A command and its heredocs as one text for the shell, and the script that it calls if it is one.
fn with_heredocs(
    text: &str,
    first: &Heredoc,
    heredocs: &[Heredoc],
) -> (String, Option<(String, String)>) {
    if Heredoc::of_word(text).is_none() {
        // The shell knows heredocs itself: give it the text back.
        let mut full = text.to_owned();
        for heredoc in heredocs {
            full.push('\n');
            full.push_str(&heredoc.body);
            full.push_str(&heredoc.name);
        }
        return (full, None);
    }
    let content = first.content();
    if first.body.starts_with("#!") {
        let path = format!("{SCRIPTS}/{}", first.name);
        return (path, Some((first.name.clone(), content)));
    }
    (content, None)
}

/// The values of mounts are expanded, so that a fault in them is found here.
fn check_mounts(state: &State<'_>, run: &Run) -> Checked<()> {
    for mount in &run.mounts {
        for (key, value) in &mount.options {
            let Some(value) = value.as_ref().filter(|_| key != "from") else {
                continue;
            };
            state
                .expander()
                .text(value)
                .map_err(|misuse| Fault::new(mount.span, misuse.message))?;
        }
    }
    Ok(())
}

fn refused_in_run(run: &Run) -> Option<String> {
    if let Some(mount) = run.mounts.first() {
        let kind = mount.kind.name();
        return Some(format!("RUN --mount=type={kind}: not supported yet"));
    }
    if run.security == Security::Insecure {
        return Some("RUN --security=insecure: not supported".to_owned());
    }
    if let Some(device) = run.devices.first() {
        return Some(format!("RUN --device={}: not supported", device.text));
    }
    None
}

/// The first ssh mount's socket.
fn ssh_socket(run: &Run) -> Option<String> {
    let mount = run.mounts.iter().find(|m| m.kind == MountKind::Ssh)?;
    Some(match mount.option(&["target", "dst", "destination"]) {
        Some(target) => target.to_owned(),
        None => "/run/buildkit/ssh_agent.0".to_owned(),
    })
}

/// COPY, and why it can't be done.
pub(crate) fn copy(state: &State<'_>, files: &Files) -> Checked<(CopyStep, Option<String>)> {
    let refusal = if files.link.is_some() {
        Some("COPY --link: not supported yet".to_owned())
    } else if files.parents.is_some() {
        Some("COPY --parents: not supported yet".to_owned())
    } else {
        None
    };
    Ok((files_step(state, files)?, refusal))
}

/// ADD: COPY of local files, and why it can't be done where it is more than that.
pub(crate) fn add(state: &State<'_>, add: &Add) -> Checked<(CopyStep, Option<String>)> {
    let mut step = files_step(state, &add.files)?;
    let refusal = if let Some(remote) = step.sources.iter().find(|s| is_remote(s)) {
        Some(format!(
            "ADD {remote}: remote sources are not supported yet"
        ))
    } else if add.files.link.is_some() {
        Some("ADD --link: not supported yet".to_owned())
    } else if add.unpack == Some(true) {
        Some("ADD --unpack: not supported yet".to_owned())
    } else {
        None
    };
    // Unless it is told not to, ADD unpacks what turns out to be an archive.
    step.refuse_archives = add.unpack.is_none();
    Ok((step, refusal))
}

fn files_step(state: &State<'_>, files: &Files) -> Checked<CopyStep> {
    let expander = state.expander();
    let all = |words: &[Word]| {
        words
            .iter()
            .map(|w| expander.word(w))
            .collect::<Checked<_>>()
    };
    let optional = |word: &Option<Word>| word.as_ref().map(|w| expander.word(w)).transpose();
    let body = Expander {
        variables: &state.variables,
        escape: '\\',
        quotes: Quotes::Keep,
    };
    let mut heredocs = Vec::new();
    for heredoc in &files.heredocs {
        let content = heredoc.content();
        let content = if heredoc.expand {
            let place = files.target.span;
            body.text(&content)
                .map_err(|misuse| Fault::new(place, misuse.message))?
        } else {
            content
        };
        heredocs.push((heredoc.name.clone(), content));
    }
    let chmod = match (&files.chmod, optional(&files.chmod)?) {
        (Some(word), Some(text)) => {
            Some(ModeChange::parse(&text).map_err(|why| Fault::new(word.span, why))?)
        }
        _ => None,
    };
    let origin = stages::origin(state.scope.recipe, state.index, files.from.as_ref())?;
    Ok(CopyStep {
        sources: all(&files.sources)?,
        heredocs,
        target: target(&state.config.working_dir, &expander.word(&files.target)?),
        chown: optional(&files.chown)?,
        chmod,
        exclude: all(&files.exclude)?,
        origin,
        refuse_archives: false,
    })
}

/// The target below the working directory; a trailing slash, `.` and `..` mean a directory.
fn target(working_dir: &str, target: &str) -> String {
    if target.is_empty() {
        return clean(working_dir);
    }
    let directory = target.ends_with('/') || target.ends_with("/.") || matches!(target, "." | "..");
    let path = if target.starts_with('/') {
        clean(target)
    } else {
        clean(&format!("{working_dir}/{target}"))
    };
    if directory && path != "/" {
        return format!("{path}/");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_target_stands_below_the_working_directory() {
        assert_eq!(target("/w", "a"), "/w/a");
        assert_eq!(target("/w", "a/"), "/w/a/");
        assert_eq!(target("/w", "."), "/w/");
        assert_eq!(target("/w", ""), "/w");
        assert_eq!(target("/w", "/x/../y/"), "/y/");
        assert_eq!(target("/", "./"), "/");
    }
}
