//! The keys of a mount, one by one and then together. Pure. Not its job: reading them off the flag.

use super::{Access, Mounted, Seed, Sharing, Surroundings, Written};
use crate::diagnostic::{did_you_mean, one_of};
use crate::instruction::MountKind;
use crate::stages::Origin;
use crate::steps::metadata::clean;

/// The keys and values as they are written, each of the type it must have.
#[derive(Default)]
pub(super) struct Keys {
    kind: Option<MountKind>,
    source: String,
    target: String,
    id: String,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

/// Every key, for "did you mean".
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl Keys {
    fn kind(&self) -> MountKind {
        self.kind.unwrap_or(MountKind::Bind)
    }

    /// Takes up a key.
    pub(super) fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => self.read_only = Some(true),
                "readwrite" | "rw" => self.read_only = Some(false),
                "required" => {
                    self.only_of(key, &[MountKind::Secret, MountKind::Ssh])?;
                    self.required = true;
                }
                _ if KEYS.contains(&key) => {
                    return Err(format!("mount key '{key}' needs a value: {key}=…"));
                }
                _ => return Err(self.unexpected(key)),
            }
            return Ok(());
        };
        match key {
            "type" => self.kind = Some(kind(value)?),
            // Read with the stages, before there are variables.
            "from" => {}
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = Some(boolean(key, value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean(key, value)?),
            "required" => {
                self.only_of(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = boolean(key, value)?;
            }
            "size" => {
                self.only_of(key, &[MountKind::Tmpfs])?;
                let bytes = bytes(value);
                self.size = Some(bytes.ok_or_else(|| {
                    format!("invalid value for size: {value} (bytes, or with a unit as 64m)")
                })?);
            }
            "id" => value.clone_into(&mut self.id),
            "sharing" => self.sharing = Some(sharing(value)?),
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|m| *m <= 0o7777);
                self.mode = Some(mode.ok_or_else(|| {
                    format!("invalid value {value} for mode: it must be octal, at most 7777")
                })?);
            }
            "uid" => self.uid = Some(number(key, value)?),
            "gid" => self.gid = Some(number(key, value)?),
            "env" => self.env = Some(value.to_owned()),
            _ => return Err(self.unexpected(key)),
        }
        Ok(())
    }

    fn unexpected(&self, key: &str) -> String {
        let near = did_you_mean(key, KEYS);
        format!(
            "unexpected key '{key}' for mount type '{}'{near}",
            self.kind().name()
        )
    }

    /// BuildKit reads from left to right: a key may need its type before it.
    fn only_of(&self, key: &str, kinds: &[MountKind]) -> Result<(), String> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let name = self.kind().name();
        let first = if self.kind.is_none() {
            " (type= must stand before it)"
        } else {
            ""
        };
        Err(format!(
            "unexpected key '{key}' for mount type '{name}'{first}"
        ))
    }

    /// What they come to together.
    pub(super) fn complete(
        &self,
        written: &Written,
        around: &Surroundings<'_>,
    ) -> Result<Mounted, String> {
        let kind = self.kind();
        let access = |mode| Access {
            mode: self.mode.unwrap_or(mode),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        };
        self.check(kind, written.from.is_some())?;
        Ok(match kind {
            MountKind::Bind => Mounted::Bind {
                origin: around.origin.clone().unwrap_or(Origin::Context),
                source: clean(&self.source),
                target: self.place(around)?,
                read_only: self.read_only.unwrap_or(true),
            },
            MountKind::Cache => Mounted::Cache {
                id: self.cache_id(around),
                sharing: self.sharing.unwrap_or_default(),
                seed: self.seed(around),
                access: access(0o755),
                target: self.place(around)?,
                read_only: self.read_only.unwrap_or(false),
            },
            MountKind::Tmpfs => Mounted::Tmpfs {
                target: self.place(around)?,
                size: self.size,
            },
            MountKind::Secret => self.secret(around, access(0o400))?,
            MountKind::Ssh => Mounted::Ssh {
                id: match self.id.as_str() {
                    "" => "default".to_owned(),
                    id => id.to_owned(),
                },
                target: match self.target.as_str() {
                    "" => format!("/run/buildkit/ssh_agent.{}", around.agents),
                    _ => self.place(around)?,
                },
                required: self.required,
                access: access(0o600),
            },
        })
    }

    /// What excludes what.
    fn check(&self, kind: MountKind, from: bool) -> Result<(), String> {
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            for (key, value) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
                if value.is_some() {
                    return Err(format!(
                        "{key} not allowed for {:?} type mounts",
                        kind.name()
                    ));
                }
            }
        }
        if self.sharing.is_some() && kind != MountKind::Cache {
            return Err(format!(
                "invalid cache sharing set for {} mount",
                kind.name()
            ));
        }
        match kind {
            MountKind::Secret if from => Err("secret mount should not have a from".to_owned()),
            MountKind::Secret if !self.source.is_empty() && !self.id.is_empty() => {
                Err("both source and id can't be set".to_owned())
            }
            MountKind::Ssh if !self.source.is_empty() => {
                Err("ssh does not support source".to_owned())
            }
            MountKind::Tmpfs if !from && clean(&self.source) != "/" => Err(format!(
                "tmpfs mount has nothing at source={}: it begins empty",
                self.source
            )),
            _ => Ok(()),
        }
    }

    fn secret(&self, around: &Surroundings<'_>, access: Access) -> Result<Mounted, String> {
        let base = |path: &str| clean(path).rsplit('/').next().unwrap_or("").to_owned();
        let id = match (self.source.as_str(), self.id.as_str()) {
            ("", "") => base(&self.target),
            ("", id) => id.to_owned(),
            (source, _) => source.to_owned(),
        };
        if id.is_empty() {
            return Err(
                "invalid secret mount: one of id, source or target must be given".to_owned(),
            );
        }
        let target = match (self.target.as_str(), &self.env) {
            ("", Some(_)) => None,
            ("", None) => Some(clean(&format!("/run/secrets/{}", base(&id)))),
            _ => Some(self.place(around)?),
        };
        if let Some(name) = &self.env
            && (name.is_empty() || name.contains('='))
        {
            return Err(format!(
                "invalid value for env: {name:?}: no variable's name"
            ));
        }
        Ok(Mounted::Secret {
            id,
            target,
            env: self.env.clone(),
            required: self.required,
            access,
        })
    }

    /// The target below the working directory.
    fn place(&self, around: &Surroundings<'_>) -> Result<String, String> {
        let target = if self.target.starts_with('/') {
            clean(&self.target)
        } else {
            clean(&format!("{}/{}", around.working_dir, self.target))
        };
        match (target.as_str(), self.target.as_str()) {
            ("/", "") => Err("mount needs a target: target=/path".to_owned()),
            ("/", _) => Err("invalid mount target \"/\"".to_owned()),
            _ => Ok(target),
        }
    }

    /// The cache's name: without one, its target, as it is written.
    fn cache_id(&self, around: &Surroundings<'_>) -> String {
        let id = match (self.id.as_str(), self.target.starts_with('/')) {
            ("", true) => clean(&self.target),
            ("", false) => clean(&format!("/{}", self.target))[1..].to_owned(),
            (id, _) => id.to_owned(),
        };
        match around.namespace {
            "" => id,
            namespace => format!("{namespace}/{id}"),
        }
    }

    /// An owner or mode alone make a new empty directory, as in BuildKit.
    fn seed(&self, around: &Surroundings<'_>) -> Option<Seed> {
        let source = clean(&self.source);
        let owned = self.mode.is_some() || self.uid.is_some() || self.gid.is_some();
        if source == "/" && owned {
            return None;
        }
        match &around.origin {
            None | Some(Origin::Scratch) if source == "/" => None,
            origin => Some(Seed {
                origin: origin.clone().unwrap_or(Origin::Scratch),
                source,
            }),
        }
    }
}

fn kind(value: &str) -> Result<MountKind, String> {
    const KINDS: [MountKind; 5] = [
        MountKind::Bind,
        MountKind::Cache,
        MountKind::Tmpfs,
        MountKind::Secret,
        MountKind::Ssh,
    ];
    let lower = value.to_lowercase();
    let found = KINDS.into_iter().find(|kind| kind.name() == lower);
    found.ok_or_else(|| {
        let near = did_you_mean(&lower, KINDS.map(MountKind::name));
        format!("unsupported mount type {value:?}{near}")
    })
}

fn sharing(value: &str) -> Result<Sharing, String> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        lower => {
            let near = one_of(lower, ["shared", "private", "locked"]);
            Err(format!("unsupported sharing value {value:?}{near}"))
        }
    }
}

/// A truth as Go's strconv reads it.
fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value} (true or false)")),
    }
}

fn number(key: &str, value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        format!("invalid value {value} for {key}: it must be a number, at most 4294967295")
    })
}

/// A size as Docker writes it: `64m`, `1.5GiB`, `4096`.
fn bytes(value: &str) -> Option<u64> {
    let end = value.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')? + 1;
    let (number, unit) = value.split_at(end);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let unit = unit.to_lowercase();
    let power = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let size = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked on this line"
    )]
    (0.0..9e18).contains(&size).then_some(size as u64)
}
