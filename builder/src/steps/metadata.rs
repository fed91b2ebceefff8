//! Instructions that change only the image's config. Pure. Not its job: ARG, whose values never reach the
//! config.

use serde_json::Map;

use crate::config::Health;
use crate::diagnostic::{Checked, Fault};
use crate::evaluate::State;
use crate::instruction::{CommandLine, Healthcheck, Kind, Pair};
use crate::lint::{Rule, values};
use crate::plan::Action;
use crate::source::Span;
use crate::words::Word;
use crate::{ports, signal};

/// Tells the linter of what an instruction, written so, does again or in an old way.
pub(crate) fn lint(state: &mut State<'_>, kind: &Kind, written: &str) {
    let place = state.place.clone();
    let which = match kind {
        Kind::Cmd(_) => 0,
        Kind::Entrypoint(_) => 1,
        Kind::Healthcheck(_) => 2,
        Kind::Env(pairs) | Kind::Label(pairs) => {
            if pairs.iter().any(|pair| pair.old) {
                let message = format!(
                    "\"{written} key=value\" should be used instead of legacy \"{written} key value\" format"
                );
                state.lint(Rule::LegacyKeyValueFormat, place.span, message);
            }
            return;
        }
        _ => return,
    };
    if let Some(earlier) = state.last[which].replace(place.clone()) {
        let message = format!(
            "Multiple {written} instructions should not be used in the same stage because only the last \
             one will be used"
        );
        let rule = Rule::MultipleInstructionsDisallowed;
        state
            .scope
            .linter
            .add(rule, &earlier, earlier.span, message);
    }
    if let Kind::Cmd(CommandLine::Shell(_)) | Kind::Entrypoint(CommandLine::Shell(_)) = kind
        && state.config.shell.is_empty()
    {
        let message = format!(
            "JSON arguments recommended for {written} to prevent unintended behavior related to OS signals"
        );
        state.lint(Rule::JSONArgsRecommended, place.span, message);
    }
}

/// Applies one of them.
pub(crate) fn apply(state: &mut State<'_>, kind: &Kind, span: Span) -> Checked<()> {
    match kind {
        Kind::Env(pairs) => {
            // All values see the variables from before the line.
            for ((name, value), pair) in expanded(state, pairs)?.into_iter().zip(pairs) {
                let linter = state.scope.linter;
                values::secret(linter, &state.place, pair.name.span, "ENV", &name);
                state.set(&name, &value, span)?;
                state.set_config(&name, &value);
            }
        }
        Kind::Label(pairs) => {
            let labels = expanded(state, pairs)?;
            state.config.labels.extend(labels);
        }
        Kind::User(user) => state.config.user = state.word(user)?,
        Kind::Cmd(command) => {
            state.config.cmd = arguments(state, command);
            state.config.args_escaped = true;
            state.own_cmd = true;
        }
        Kind::Entrypoint(command) => {
            state.config.entrypoint = arguments(state, command);
            if !state.own_cmd {
                state.config.cmd.clear();
            }
        }
        Kind::Shell(shell) => state.config.shell.clone_from(shell),
        Kind::Expose(ports) => expose(state, ports)?,
        Kind::Volume(volumes) => {
            for word in volumes {
                let volume = state.word(word)?;
                if volume.is_empty() {
                    return Err(Fault::new(
                        word.span,
                        "VOLUME specified can not be an empty string",
                    ));
                }
                state.config.volumes.insert(volume, Map::new());
            }
        }
        Kind::StopSignal(word) => {
            let text = state.word(word)?;
            signal::check(&text).map_err(|why| Fault::new(word.span, why))?;
            state.config.stop_signal = text;
        }
        Kind::Healthcheck(check) => state.config.healthcheck = Some(health(check)),
        Kind::OnBuild(trigger) => state.config.on_build.push(trigger.clone()),
        Kind::Maintainer(author) => state.author = Some(author.clone()),
        // These are no metadata: `evaluate` keeps them.
        Kind::Arg(_) | Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_) => {}
    }
    Ok(())
}

/// WORKDIR: an absolute path is kept as it is written, a relative one is put below the last.
pub(crate) fn workdir(state: &mut State<'_>, word: &Word) -> Checked<Action> {
    let path = state.word(word)?;
    if !state.memory.workdir && !path.starts_with('/') {
        let message = format!(
            "Relative workdir {path:?} can have unexpected results if the base image changes"
        );
        state.lint(Rule::WorkdirRelativePath, word.span, message);
    }
    state.memory.workdir = true;
    let path = if path.starts_with('/') {
        path
    } else {
        clean(&format!("{}/{path}", state.config.working_dir))
    };
    state
        .scope
        .budget
        .spend(path.len() + state.config.user.len(), word.span)?;
    state.config.working_dir.clone_from(&path);
    Ok(Action::Directory {
        path,
        user: state.config.user.clone(),
    })
}

/// An absolute path without empty, `.` and `..` parts: these are taken as words, links not asked.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn expanded(state: &State<'_>, pairs: &[Pair]) -> Checked<Vec<(String, String)>> {
    pairs
        .iter()
        .map(|pair| {
            // A variable may leave nothing of a name: BuildKit lets that pass, and the linter names the variable.
            Ok((state.word(&pair.name)?, state.word(&pair.value)?))
        })
        .collect()
}

/// A command's arguments, a text put behind the shell.
pub(crate) fn arguments(state: &State<'_>, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(arguments) => arguments.clone(),
        CommandLine::Shell(text) => {
            let mut arguments = state.config.shell();
            arguments.push(text.clone());
            arguments
        }
    }
}

fn expose(state: &mut State<'_>, words: &[Word]) -> Checked<()> {
    // BuildKit reads them in this order: the first fault is the same.
    let mut sorted: Vec<&Word> = words.iter().collect();
    sorted.sort_by(|a, b| a.text.cmp(&b.text));
    for word in sorted {
        let specs = state
            .expander()
            .words(&word.text)
            .map_err(|misuse| misuse.within(word))?;
        for spec in specs {
            lint_port(state, &spec, word);
            let ports = ports::parse(&spec).map_err(|why| Fault::new(word.span, why))?;
            state.scope.budget.spend(ports.len() * PORT, word.span)?;
            let ports = ports.into_iter().map(|port| (port, Map::new()));
            state.config.exposed_ports.extend(ports);
        }
    }
    Ok(())
}

/// What a port costs of the budget. All ports once are 65,536, a few times as much is no recipe.
const PORT: usize = 32;

/// What of a port's words belongs elsewhere.
fn lint_port(state: &State<'_>, spec: &str, word: &Word) {
    let (ports, protocol) = spec.split_once('/').unwrap_or((spec, ""));
    if protocol != protocol.to_lowercase() {
        let message =
            format!("Defined protocol '{spec}' in EXPOSE instruction should be lowercase");
        state.lint(Rule::ExposeProtoCasing, word.span, message);
    }
    let host = ports.rsplit_once(':').map_or("", |(host, _)| host);
    if !host.trim_matches(':').is_empty() {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{spec}'"
        );
        state.lint(Rule::ExposeInvalidFormat, word.span, message);
    }
}

fn health(check: &Healthcheck) -> Health {
    Health {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_by_its_words() {
        assert_eq!(clean("/a/./b//../c/"), "/a/c");
        assert_eq!(clean("/../.."), "/");
    }
}
