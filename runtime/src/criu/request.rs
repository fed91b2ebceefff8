//! What is asked of CRIU: options by their numbers in criu/images/rpc.proto. Pure.
//! Not its job: deciding the options (life/checkpoint, life/restore).

use std::str::FromStr;

use super::message::Message;
use crate::Error;

/// The kind of an answer that tells of a moment of the work.
pub(super) const NOTIFY: u64 = 6;

/// Between what was asked and why it failed.
pub(crate) const FAILED: &str = ": criu failed: ";

/// What CRIU is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dump,
    Restore,
    PreDump,
}

impl Kind {
    fn number(self) -> u64 {
        match self {
            Self::Dump => 1,
            Self::Restore => 2,
            Self::PreDump => 4,
        }
    }

    /// For messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Dump => "checkpoint",
            Self::Restore => "restore",
            Self::PreDump => "pre-dump",
        }
    }

    /// What CRIU's refusal says.
    pub(super) fn failed(self, errno: u64, words: &str) -> Error {
        let reason = match (words.trim(), i32::try_from(errno)) {
            ("", Ok(0)) | ("", Err(_)) => "it does not say why".to_owned(),
            ("", Ok(number)) => std::io::Error::from_raw_os_error(number).to_string(),
            // Where in its source it failed is nobody's business here: `Error (criu/mount.c:12): `.
            (words, _) => match words.split_once("): ") {
                Some((place, rest)) if place.starts_with("Error (") => rest.to_owned(),
                _ => words.to_owned(),
            },
        };
        Error::Words(format!("{}{FAILED}{reason}", self.word()))
    }
}

/// What CRIU does about cgroups (`--manage-cgroups-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Nothing: processes stay in the cgroup that the runtime made.
    Ignore,
    /// The cgroups below are made again where they are missing.
    Soft,
    /// They must be missing.
    Full,
    /// They must be there.
    Strict,
}

impl CgroupMode {
    fn number(self) -> u64 {
        match self {
            Self::Ignore => 0,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
        }
    }
}

impl FromStr for CgroupMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "ignore" => Ok(Self::Ignore),
            "soft" => Ok(Self::Soft),
            "full" => Ok(Self::Full),
            "strict" => Ok(Self::Strict),
            _ => Err("it can be soft, full, strict or ignore".to_owned()),
        }
    }
}

/// A request; `options` holds the fields of criu_opts.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) options: Message,
}

impl Request {
    pub(super) fn message(&self) -> Message {
        let mut message = Message::default();
        message
            .number(1, self.kind.number())
            .message(2, &self.options);
        message
    }

    /// Sets how cgroups are dealt with.
    pub(crate) fn cgroup_mode(&mut self, mode: CgroupMode) {
        self.options
            .flag(option::MANAGE_CGROUPS, mode != CgroupMode::Ignore)
            .number(option::MANAGE_CGROUPS_MODE, mode.number());
    }

    /// A mount that CRIU does not write down: at restore it is bound from `source`.
    pub(crate) fn external_mount(&mut self, place: &str, source: &str) {
        let mut pair = Message::default();
        pair.text(1, place).text(2, source);
        self.options.message(option::EXT_MNT, &pair);
    }

    /// A descriptor of CRIU's in place of the file that was written down under `key`.
    pub(crate) fn inherit(&mut self, key: &str, number: i32) {
        let mut pair = Message::default();
        pair.text(1, key).number(2, number.unsigned_abs());
        self.options.message(option::INHERIT_FD, &pair);
    }

    /// A namespace that is entered by its path.
    pub(crate) fn join(&mut self, kind: &str, path: &str) {
        let mut pair = Message::default();
        pair.text(1, kind).text(2, path);
        self.options.message(option::JOIN_NS, &pair);
    }

    /// Where memory goes to, or comes from.
    pub(crate) fn page_server(&mut self, address: &str, port: u16) {
        let mut server = Message::default();
        server.text(1, address).number(2, port);
        self.options.message(option::PAGE_SERVER, &server);
    }
}

/// The answer to a notice.
pub(super) fn noticed() -> Message {
    let mut message = Message::default();
    message.number(1, NOTIFY).number(3, 1_u64);
    message
}

/// The numbers of criu_opts' fields.
pub(crate) mod option {
    pub(crate) const IMAGES_DIR_FD: u32 = 1;
    pub(crate) const PID: u32 = 2;
    pub(crate) const LEAVE_RUNNING: u32 = 3;
    pub(crate) const EXT_UNIX_SK: u32 = 4;
    pub(crate) const TCP_ESTABLISHED: u32 = 5;
    pub(crate) const EVASIVE_DEVICES: u32 = 6;
    pub(crate) const SHELL_JOB: u32 = 7;
    pub(crate) const FILE_LOCKS: u32 = 8;
    pub(crate) const LOG_LEVEL: u32 = 9;
    pub(crate) const LOG_FILE: u32 = 10;
    pub(crate) const PAGE_SERVER: u32 = 11;
    pub(crate) const NOTIFY_SCRIPTS: u32 = 12;
    pub(crate) const ROOT: u32 = 13;
    pub(crate) const PARENT_IMG: u32 = 14;
    pub(crate) const TRACK_MEM: u32 = 15;
    pub(crate) const AUTO_DEDUP: u32 = 16;
    pub(crate) const WORK_DIR_FD: u32 = 17;
    pub(crate) const LINK_REMAP: u32 = 18;
    pub(crate) const EXT_MNT: u32 = 23;
    pub(crate) const MANAGE_CGROUPS: u32 = 24;
    pub(crate) const RST_SIBLING: u32 = 26;
    pub(crate) const INHERIT_FD: u32 = 27;
    pub(crate) const MANAGE_CGROUPS_MODE: u32 = 34;
    pub(crate) const EXTERNAL: u32 = 37;
    pub(crate) const EMPTY_NS: u32 = 38;
    pub(crate) const JOIN_NS: u32 = 39;
    pub(crate) const FREEZE_CGROUP: u32 = 44;
    pub(crate) const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub(crate) const LAZY_PAGES: u32 = 48;
    pub(crate) const ORPHAN_PTS_MASTER: u32 = 50;
}
