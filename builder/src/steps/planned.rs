//! RUN, COPY and ADD with their variables filled in, and what of them dhow does not do yet. Pure. Not its
//! job: carrying them out.

use std::sync::Arc;

use crate::diagnostic::{Checked, Fault};
use crate::evaluate::State;
use crate::expand::{Expander, Quotes};
use crate::heredoc::Heredoc;
use crate::instruction::{Add, CommandLine, Files, Run, Security};
use crate::lint::Rule;
use crate::mode::ModeChange;
use crate::mounts::{Mount, Mounted, Surroundings, mounted};
use crate::plan::{Adding, CopyStep, RunStep};
use crate::remote::{Remote, remote};
use crate::request::{self, NetworkDefault};
use crate::source::Span;
use crate::stages::{self, Origin};
use crate::steps::metadata::{arguments, clean};
use crate::steps::web;
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
    let mounts = mounts(state, run)?;
    let network = request::network(run.network, state.scope.settings);
    let refusal = refused_in_run(state, run).or_else(|| network.clone().err());
    let mut env = state.env(span)?;
    let socket = mounts.iter().find_map(|mount| match &mount.kind {
        Mounted::Ssh { target, .. } => Some(target),
        _ => None,
    });
    if let Some(socket) = socket.filter(|_| state.variables.get("SSH_AUTH_SOCK").is_none()) {
        let mut with = env.as_ref().clone();
        with.push(format!("SSH_AUTH_SOCK={socket}"));
        env = Arc::new(with);
    }
    let args = arguments(state, &command);
    let texts: usize = args.iter().map(String::len).sum();
    let place = state.config.working_dir.len() + state.config.user.len();
    state.scope.budget.spend(texts + place, span)?;
    let step = RunStep {
        args,
        env,
        cwd: match state.config.working_dir.as_str() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        },
        user: state.config.user.clone(),
        network: network.unwrap_or(NetworkDefault::None),
        security: run.security,
        mounts,
        devices: run.devices.clone(),
        hostname: hostname(state, span)?,
        script,
        proxies: state.proxies(),
    };
    Ok((step, refusal))
}

/// What the build says RUN's machine is called.
fn hostname(state: &State<'_>, span: Span) -> Checked<Option<String>> {
    let name = "BUILDKIT_SANDBOX_HOSTNAME";
    let Some(given) = state.scope.settings.build_args.get(name) else {
        return Ok(None);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    match (1..=64).contains(&given.len()) && given.chars().all(plain) {
        true => Ok(Some(given.clone())),
        false => {
            let why = format!("build arg {name}={given:?}: it is no name of a machine");
            Err(Fault::new(span, why))
        }
    }
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

/// The mounts with their variables filled in.
fn mounts(state: &State<'_>, run: &Run) -> Checked<Vec<Mount>> {
    let namespace = state
        .scope
        .settings
        .build_args
        .get("BUILDKIT_CACHE_MOUNT_NS");
    let mut mounts: Vec<Mount> = Vec::new();
    let mut agents = 0;
    for mount in &run.mounts {
        let from = mount.from.as_ref();
        let origin =
            from.map(|from| stages::origin_of_mount(state.scope.recipe, state.index, from));
        let around = Surroundings {
            expand: &|text| state.text(state.expander(), text, mount.span),
            working_dir: &state.config.working_dir,
            origin: origin.transpose()?,
            namespace: namespace.map_or("", String::as_str),
            agents,
        };
        let mount = mounted(mount, &around)?;
        agents += usize::from(matches!(mount.kind, Mounted::Ssh { .. }));
        state
            .scope
            .budget
            .spend(state.config.working_dir.len(), mount.span)?;
        mounts.push(mount);
    }
    Ok(mounts)
}

fn refused_in_run(state: &State<'_>, run: &Run) -> Option<String> {
    let allowed =
        state.scope.settings.allowed.security_insecure || sys::fault::broken("no-entitlements");
    if run.security == Security::Insecure && !allowed {
        return Some(
            "RUN --security=insecure is not allowed: the build must be started with --allow security.insecure"
                .to_owned(),
        );
    }
    if let Some(device) = run.devices.first() {
        return Some(format!("RUN --device={}: not supported", device.name));
    }
    None
}

/// COPY.
pub(crate) fn copy(state: &State<'_>, files: &Files) -> Checked<CopyStep> {
    let step = files_step(state, files)?;
    lint_ignored(state, files, &step, "Copy");
    for (source, word) in step.sources.iter().zip(&files.sources) {
        if is_remote(source) {
            return Err(Fault::new(
                word.span,
                format!("COPY {source}: source can't be a URL or git ref for COPY (ADD takes it)"),
            ));
        }
    }
    Ok(step)
}

/// ADD.
pub(crate) fn add(state: &State<'_>, add: &Add) -> Checked<CopyStep> {
    let mut step = files_step(state, &add.files)?;
    lint_ignored(state, &add.files, &step, "Add");
    let checksum = match &add.checksum {
        Some(word) => Some(checksum(state, word, &step.sources)?),
        None => None,
    };
    for (source, word) in step.sources.iter().zip(&add.files.sources) {
        remote(source).map_err(|why| Fault::new(word.span, why))?;
    }
    step.adding = Some(Adding {
        checksum,
        keep_git_dir: add.keep_git_dir,
        unpack: add.unpack,
    });
    Ok(step)
}

/// `--checksum`, of the one source that comes from a server.
fn checksum(state: &State<'_>, word: &Word, sources: &[String]) -> Checked<String> {
    match sources {
        [one] if is_remote(one) => {
            let text = state.word(word)?;
            if let Ok(Some(Remote::File(_))) = remote(one) {
                web::sum(&text).map_err(|why| Fault::new(word.span, why))?;
            }
            Ok(text)
        }
        [_] => Err(Fault::new(
            word.span,
            "checksum requires HTTP(S) or Git sources",
        )),
        _ => Err(Fault::new(
            word.span,
            "checksum can't be specified for multiple sources",
        )),
    }
}

/// Whether a source comes from a server, not from the context.
fn is_remote(source: &str) -> bool {
    !matches!(remote(source), Ok(None))
}

fn files_step(state: &State<'_>, files: &Files) -> Checked<CopyStep> {
    let all = |words: &[Word]| words.iter().map(|w| state.word(w)).collect::<Checked<_>>();
    let optional = |word: &Option<Word>| word.as_ref().map(|w| state.word(w)).transpose();
    // The words first, then the bodies: as BuildKit does, so that the first fault is the same.
    let chown = optional(&files.chown)?;
    let mode = optional(&files.chmod)?;
    let exclude = all(&files.exclude)?;
    let sources: Vec<String> = all(&files.sources)?;
    let to = state.word(&files.target)?;
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
            state
                .text(body, &content, place)
                .map_err(|misuse| Fault::new(place, misuse.message))?
        } else {
            content
        };
        heredocs.push((heredoc.name.clone(), content));
    }
    let chmod = match (&files.chmod, mode) {
        // What comes to nothing says nothing, as with BuildKit.
        (Some(word), Some(text)) if !text.is_empty() => {
            Some(ModeChange::parse(&text).map_err(|why| Fault::new(word.span, why))?)
        }
        _ => None,
    };
    let origin = stages::origin(state.scope.recipe, state.index, files.from.as_ref())?;
    Ok(CopyStep {
        sources,
        heredocs,
        target: target(&state.config.working_dir, &to),
        chown,
        chmod,
        exclude,
        origin,
        link: files.link.is_some(),
        parents: files.parents.is_some(),
        adding: None,
    })
}

/// Tells of sources that the ignore file leaves out.
fn lint_ignored(state: &State<'_>, files: &Files, step: &CopyStep, command: &str) {
    let Some(ignore) = state
        .scope
        .ignore
        .filter(|_| step.origin == Origin::Context)
    else {
        return;
    };
    for (source, word) in step.sources.iter().zip(&files.sources) {
        if !is_remote(source) && ignore.leaves_out_source(source) {
            let path = clean(source);
            let path = if source.starts_with('/') {
                path.as_str()
            } else {
                &path[1..]
            };
            let message =
                format!("Attempting to {command} file {path:?} that is excluded by .dockerignore");
            state.lint(Rule::CopyIgnoredFile, word.span, message);
        }
    }
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
