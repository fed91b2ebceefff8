//! CMD, ENTRYPOINT and SHELL: a command as arguments or as a text for a shell. Not its job: RUN's flags
//! and heredocs.

use super::Request;
use crate::diagnostic::Checked;
use crate::instruction::CommandLine;
use crate::words;

/// CMD and ENTRYPOINT.
pub(super) fn command(request: &Request<'_>) -> Checked<CommandLine> {
    request.no_flags()?;
    command_line(request)
}

/// What follows an instruction: a JSON array, or else a text.
pub(super) fn command_line(request: &Request<'_>) -> Checked<CommandLine> {
    Ok(
        match words::json(request.line, request.parts.rest.clone())? {
            Some(arguments) => CommandLine::Exec(arguments),
            None => CommandLine::Shell(request.rest().to_owned()),
        },
    )
}

/// SHELL.
pub(super) fn shell(request: &Request<'_>) -> Checked<Vec<String>> {
    request.no_flags()?;
    match command_line(request)? {
        CommandLine::Exec(shell) if shell.is_empty() => {
            request.fault("SHELL requires at least one argument")
        }
        CommandLine::Exec(shell) => Ok(shell),
        CommandLine::Shell(text) if text.is_empty() => {
            request.fault("SHELL requires at least one argument")
        }
        CommandLine::Shell(_) => request
            .fault("SHELL requires the arguments to be in JSON form: SHELL [\"/bin/sh\", \"-c\"]"),
    }
}
