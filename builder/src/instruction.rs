//! The instructions of a recipe as types. Not its job: reading them, and carrying them out.

use std::sync::Arc;

use crate::contexts::Contexts;
use crate::heredoc::Heredoc;
use crate::lint::{self, Lint, Place};
use crate::source::Span;
use crate::words::Word;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
    /// Its text in one line, as the image's history shows it.
    pub text: String,
    /// What a comment before it says to the linter.
    pub(crate) local: Option<Arc<lint::Options>>,
}

impl Instruction {
    /// Where the linter tells of it.
    pub(crate) fn place(&self) -> Place {
        Place {
            span: self.span,
            local: self.local.clone(),
        }
    }
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ARG name[=default] …`
    Arg(Vec<Argument>),
    /// `ENV name=value …`
    Env(Vec<Pair>),
    /// `LABEL name=value …`
    Label(Vec<Pair>),
    /// `RUN …`
    Run(Run),
    /// `COPY …`
    Copy(Files),
    /// `ADD …`
    Add(Add),
    /// `WORKDIR path`
    Workdir(Word),
    /// `USER user[:group]`
    User(Word),
    /// `CMD …`
    Cmd(CommandLine),
    /// `ENTRYPOINT …`
    Entrypoint(CommandLine),
    /// `SHELL ["…"]`
    Shell(Vec<String>),
    /// `EXPOSE port[/protocol] …`
    Expose(Vec<Word>),
    /// `VOLUME path …`
    Volume(Vec<Word>),
    /// `STOPSIGNAL signal`
    StopSignal(Word),
    /// `HEALTHCHECK …`
    Healthcheck(Healthcheck),
    /// `ONBUILD instruction`: its text, heredocs and all.
    OnBuild(String),
    /// `MAINTAINER name`
    Maintainer(String),
}

/// One name of an ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// The default, if one is given.
    pub default: Option<Word>,
    /// Where the name stands.
    pub span: Span,
}

/// A name and a value, both yet to be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
    /// Whether it is written `name value`.
    pub old: bool,
}

/// A command, either as its arguments or for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// `["program", "argument"]`
    Exec(Vec<String>),
    /// `text for the shell`
    Shell(String),
}

/// A RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: CommandLine,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=…`, in order.
    pub mounts: Vec<Mount>,
    /// `--network=…`
    pub network: Network,
    /// `--security=…`
    pub security: Security,
    /// `--device=…`
    pub devices: Vec<Device>,
}

/// A device that a RUN wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Its name, as in `vendor.com/class=name`.
    pub name: String,
    /// Whether the RUN fails without it.
    pub required: bool,
}

/// Which network a RUN sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// Whatever the build was told.
    #[default]
    Default,
    /// Its own, with nothing but loopback.
    None,
    /// The host's.
    Host,
}

/// How tightly a RUN is held. There is no word for what is unknown: such a recipe is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As always.
    #[default]
    Sandbox,
    /// With the host's rights.
    Insecure,
}

/// `--mount=key=value,…`: keys in lower case and values yet to be expanded. What they mean depends on
/// variables: see `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The keys, in order; a key without `=` has no value.
    pub options: Vec<(String, Option<String>)>,
    /// `from=`, which takes no variables.
    pub from: Option<Word>,
    /// Where it stands.
    pub span: Span,
}

/// The types of `--mount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Files of the context, a stage or an image.
    Bind,
    /// A directory kept between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file or variable that never reaches the image.
    Secret,
    /// An agent's socket.
    Ssh,
}

impl MountKind {
    /// Its name in a recipe.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// What COPY and ADD share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `--from=`: a stage's name or number, or an image.
    pub from: Option<Word>,
    /// `--chown=`
    pub chown: Option<Word>,
    /// `--chmod=`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: Option<Span>,
    /// `--parents`
    pub parents: Option<Span>,
    /// `--exclude=`, each.
    pub exclude: Vec<Word>,
    /// Paths to copy.
    pub sources: Vec<Word>,
    /// Heredocs to copy.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub target: Word,
}

/// An ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What it shares with COPY.
    pub files: Files,
    /// `--checksum=`
    pub checksum: Option<Word>,
    /// `--keep-git-dir`: `None` if it is not said.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`: `None` decides by the source.
    pub unpack: Option<bool>,
}

/// A HEALTHCHECK, as the image config holds it: times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` or `CMD-SHELL` and the command.
    pub test: Vec<String>,
    /// `--interval`
    pub interval: i64,
    /// `--timeout`
    pub timeout: i64,
    /// `--start-period`
    pub start_period: i64,
    /// `--start-interval`
    pub start_interval: i64,
    /// `--retries`
    pub retries: i64,
}

/// One stage of a recipe: a FROM and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it stands on, yet to be expanded.
    pub base: Word,
    /// Its name after AS, in lower case.
    pub name: Option<String>,
    /// `--platform=`, yet to be expanded.
    pub platform: Option<Word>,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
    /// Where its FROM stands.
    pub span: Span,
    /// The text of its FROM.
    pub text: String,
    /// What a comment before its FROM says to the linter.
    pub(crate) local: Option<Arc<lint::Options>>,
}

impl Stage {
    /// Where the linter tells of its FROM.
    pub(crate) fn place(&self) -> Place {
        Place {
            span: self.span,
            local: self.local.clone(),
        }
    }
}

/// A whole recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The escape character.
    pub escape: char,
    /// ARGs before the first FROM.
    pub globals: Vec<Argument>,
    /// Its stages, in order; at least one.
    pub stages: Vec<Stage>,
    /// `# check=`: settings of the linter.
    pub check: Option<(String, Span)>,
    /// What the linter found in how it is written.
    pub(crate) lints: Vec<Lint>,
    /// What the person puts in the place of names.
    pub(crate) contexts: Contexts,
}
