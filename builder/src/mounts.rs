//! `RUN --mount=…`: its keys, variables filled in and defaults set, as what is to be mounted. Pure. Not
//! its job: mounting it.

use crate::diagnostic::{Checked, Fault};
use crate::expand::Misuse;
use crate::instruction::Mount as Written;
use crate::source::Span;
use crate::stages::Origin;
use keys::Keys;

mod keys;

/// One mount of a RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: Mounted,
    /// Where its flag stands in the recipe.
    pub span: Span,
}

/// What a RUN sees beside its tree. Targets are absolute and clean, and never `/`; they may lie below
/// links of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// Files of the context, a stage or an image. What is written to them is thrown away.
    Bind {
        /// Where they are from.
        origin: Origin,
        /// The path there, absolute and clean; `/` for all of it.
        source: String,
        /// Where they are seen.
        target: String,
        /// Whether they can't be written to.
        read_only: bool,
    },
    /// A directory that is kept between builds, and is no part of any key or image.
    Cache {
        /// Its name, any text: recipes that say the same share it.
        id: String,
        /// How RUNs that want it at once share it.
        sharing: Sharing,
        /// What it holds when it is made; else it is empty.
        seed: Option<Seed>,
        /// Its root's mode, user and group when it is made without a seed.
        access: Access,
        /// Where it is seen.
        target: String,
        /// Whether it can't be written to.
        read_only: bool,
    },
    /// Memory, empty at first.
    Tmpfs {
        /// Where it is seen.
        target: String,
        /// The most that it may hold, in bytes.
        size: Option<u64>,
    },
    /// A secret of the build, that reaches no layer, key, history or log.
    Secret {
        /// Its name.
        id: String,
        /// The file that holds it.
        target: Option<String>,
        /// The variable that holds it.
        env: Option<String>,
        /// Whether the RUN fails without it; else there is no such file or variable then.
        required: bool,
        /// The file's mode, user and group.
        access: Access,
    },
    /// An agent's socket.
    Ssh {
        /// Its name.
        id: String,
        /// Where it is seen.
        target: String,
        /// Whether the RUN fails without it.
        required: bool,
        /// The socket's mode, user and group.
        access: Access,
    },
}

/// What a cache holds when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Where it is from.
    pub origin: Origin,
    /// The path there, absolute and clean.
    pub source: String,
}

/// How RUNs that want one cache at once share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All see the same directory at once.
    #[default]
    Shared,
    /// Each has a directory of its own.
    Private,
    /// One waits for the other.
    Locked,
}

/// Mode, user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What a mount's targets and origins depend on.
pub(crate) struct Surroundings<'a> {
    /// A value with its variables filled in.
    pub expand: &'a dyn Fn(&str) -> Result<String, Misuse>,
    /// WORKDIR.
    pub working_dir: &'a str,
    /// What `from` means; without one, the context.
    pub origin: Option<Origin>,
    /// `BUILDKIT_CACHE_MOUNT_NS`: separates caches of the same name.
    pub namespace: &'a str,
    /// How many ssh mounts stand before this one.
    pub agents: usize,
}

/// A mount as it is written → what is to be mounted.
///
/// # Errors
/// A key or value that its type does not have, at the mount's place.
pub(crate) fn mounted(written: &Written, around: &Surroundings<'_>) -> Checked<Mount> {
    let fault = |message: String| Fault::new(written.span, message);
    let mut keys = Keys::default();
    for (key, value) in &written.options {
        let value = match value {
            Some(value) => Some((around.expand)(value).map_err(|m| fault(m.message))?),
            None => None,
        };
        keys.take(key, value.as_deref()).map_err(fault)?;
    }
    let kind = keys.complete(written, around).map_err(fault)?;
    Ok(Mount {
        kind,
        span: written.span,
    })
}

#[cfg(test)]
mod tests;
