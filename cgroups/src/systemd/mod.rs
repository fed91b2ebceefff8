//! A container's cgroup by way of systemd: a transient scope, which systemd makes, names and keeps off. The
//! limits are told to systemd as properties and then written to the cgroup's files as without it.
//!
//! ```text
//!  find ──► where the scope will lie (asks where this systemd's own tree is)
//!  start(holder) ──► the scope, with one process in it that keeps it until the container's is there
//! ```
//! Not its job: making the process that holds the scope, and the cgroup's files.

mod annotation;
mod bus;
mod message;
mod properties;
mod unit;

use std::path::Path;

use self::bus::{Bus, Refusal};
use self::message::{Body, Message, Property, Value};
use crate::location::{self, Location};
use crate::{Error, Result, Write};

/// Whose systemd it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The host's, which is process 1.
    System,
    /// That of the user who we are.
    User,
}

impl Whose {
    /// The one that is ours: only the host's root may ask the host's for anything.
    pub fn ours() -> Self {
        match sys::privileges::is_root() && !sys::privileges::is_nested() {
            true => Self::System,
            false => Self::User,
        }
    }
}

/// A scope that is to be made.
#[derive(Debug)]
pub struct Scope {
    bus: Bus,
    name: String,
    slice: String,
    /// What the bundle's annotations set.
    given: Vec<Property>,
    /// Where its cgroup will lie.
    pub location: Location,
}

/// The smallest limit of tasks under which a container's first process is born beside the scope's holder.
const TASKS_TO_BEGIN: u64 = 2;

impl Scope {
    /// The scope of container `id` with this linux.cgroupsPath and these annotations.
    ///
    /// # Errors
    /// [`Error::Spec`]; [`Error::Bus`], [`Error::Systemd`] where there is no systemd to be asked;
    /// [`Error::NoTree`].
    pub fn find<'a>(
        cgroups_path: Option<&str>,
        id: &str,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Self> {
        let whose = Whose::ours();
        let names = unit::names(cgroups_path, id, whose)?;
        let given = annotation::properties(annotations)?;
        let root = location::tree()?;
        let mut bus = Bus::open(whose)?;
        let top = bus.manager_property("ControlGroup")?;
        let slice = unit::expand(&names.slice)
            .map_err(|reason| Error::spec("linux.cgroupsPath", reason))?;
        let below = Path::new(top.trim_start_matches('/')).join(slice);
        Ok(Self {
            bus,
            given,
            location: Location {
                directory: root.join(below).join(&names.scope),
                root,
                made_from: None,
            },
            name: names.scope,
            slice: names.slice,
        })
    }

    /// The unit's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the scope with the process `holder` in it, and waits until it is there.
    ///
    /// # Errors
    /// [`Error::Systemd`] in its own words.
    pub fn start(&mut self, holder: sys::process::Pid, writes: &[Write]) -> Result<()> {
        let doing = format!("start the unit {}", self.name);
        let mut properties = vec![
            text("Description", &format!("container {}", self.name)),
            text("Slice", &self.slice),
            ("Delegate".to_owned(), Value::Bool(true)),
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
            (
                "PIDs".to_owned(),
                Value::Numbers(vec![holder.as_raw_nonzero().get().cast_unsigned()]),
            ),
        ];
        for name in [
            "CPUAccounting",
            "IOAccounting",
            "MemoryAccounting",
            "TasksAccounting",
        ] {
            properties.push((name.to_owned(), Value::Bool(true)));
        }
        properties.extend(oom_policy(writes));
        // The holder counts until the container's first process is there.
        properties.extend(properties::properties(writes).into_iter().map(
            |property| match property {
                (name, Value::U64(most)) if name == "TasksMax" => {
                    (name, Value::U64(most.max(TASKS_TO_BEGIN)))
                }
                other => other,
            },
        ));
        for (name, value) in &self.given {
            properties.retain(|(other, _)| other != name);
            properties.push((name.clone(), value.clone()));
        }
        let job = self.start_unit(&doing, properties)?;
        match self.bus.wait(&doing, &job)?.as_str() {
            "done" => Ok(()),
            result => {
                reset(&mut self.bus, &self.name)?;
                Err(Error::Systemd {
                    doing,
                    reason: format!("its job ended as {result:?}"),
                })
            }
        }
    }

    /// Asks for the unit: again without what this systemd is too old to know, and again when a unit of that
    /// name had failed and only its name was left.
    fn start_unit(&mut self, doing: &str, mut properties: Vec<Property>) -> Result<String> {
        let mut has_reset = false;
        loop {
            let body = Body::default()
                .text(&self.name)
                .text("fail")
                .properties(&properties)
                .no_units();
            let refusal = match self.bus.ask(doing, "StartTransientUnit", &body)? {
                Ok(answer) => return job(doing, &answer),
                Err(refusal) => refusal,
            };
            if refusal.name.ends_with(".UnitExists") && !has_reset {
                has_reset = true;
                reset(&mut self.bus, &self.name)?;
            } else if !self.drop_unknown(&refusal, &mut properties) {
                return Err(refusal.into_error(doing.to_owned()));
            }
        }
    }

    /// Takes out the limit that this systemd has no word for: its file is written in any case.
    fn drop_unknown(&self, refusal: &Refusal, properties: &mut Vec<Property>) -> bool {
        match unknown(refusal) {
            Some(name) if !self.given.iter().any(|(given, _)| given == name) => {
                let before = properties.len();
                properties.retain(|(other, _)| other != name);
                properties.len() < before
            }
            _ => false,
        }
    }

    /// Sets what could not hold while the holder was there.
    ///
    /// # Errors
    /// As [`update`].
    pub fn settle(&mut self, writes: &[Write]) -> Result<()> {
        let few = properties::properties(writes)
            .into_iter()
            .filter(|(name, value)| {
                name == "TasksMax" && matches!(value, Value::U64(most) if *most < TASKS_TO_BEGIN)
            })
            .collect();
        set(&mut self.bus, &self.name, few)
    }
}

/// Tells systemd of other limits of the unit `name`, which it would else put back some day.
///
/// # Errors
/// [`Error::Bus`], [`Error::Systemd`].
pub fn update(whose: Whose, name: &str, writes: &[Write]) -> Result<()> {
    let properties = properties::properties(writes);
    match properties.is_empty() {
        true => Ok(()),
        false => set(&mut Bus::open(whose)?, name, properties),
    }
}

/// Stops the unit `name`, whose processes have been killed, and has systemd forget it. What it does not know
/// any more counts as stopped.
///
/// # Errors
/// [`Error::Bus`], [`Error::Systemd`].
pub fn stop(whose: Whose, name: &str) -> Result<()> {
    let doing = format!("stop the unit {name}");
    let mut bus = Bus::open(whose)?;
    let body = Body::default().text(name).text("replace");
    match bus.ask(&doing, "StopUnit", &body)? {
        Ok(answer) => {
            let job = job(&doing, &answer)?;
            bus.wait(&doing, &job)?;
        }
        Err(refusal) if refusal.name.ends_with(".NoSuchUnit") => {}
        Err(refusal) => return Err(refusal.into_error(doing)),
    }
    reset(&mut bus, name)
}

fn set(bus: &mut Bus, name: &str, mut properties: Vec<Property>) -> Result<()> {
    let doing = format!("change the unit {name}");
    while !properties.is_empty() {
        let body = Body::default()
            .text(name)
            .bool(true)
            .properties(&properties);
        let Err(refusal) = bus.ask(&doing, "SetUnitProperties", &body)? else {
            return Ok(());
        };
        let before = properties.len();
        if let Some(unknown) = unknown(&refusal) {
            properties.retain(|(name, _)| name != unknown);
        }
        if properties.len() == before {
            return Err(refusal.into_error(doing));
        }
    }
    Ok(())
}

/// A unit that failed keeps its name until this.
fn reset(bus: &mut Bus, name: &str) -> Result<()> {
    let doing = format!("reset the unit {name}");
    // It says so if there is no such unit, or none that failed; nothing else can be wrong with a name.
    bus.ask(&doing, "ResetFailedUnit", &Body::default().text(name))
        .map(drop)
}

/// The property's name in "Cannot set property X, or unknown property."
fn unknown(refusal: &Refusal) -> Option<&str> {
    let rest = refusal.words.strip_prefix("Cannot set property ")?;
    rest.split(',').next()
}

fn job(doing: &str, answer: &Message) -> Result<String> {
    answer.text().ok_or_else(|| Error::Systemd {
        doing: doing.to_owned(),
        reason: "its answer names no job".to_owned(),
    })
}

fn text(name: &str, value: &str) -> Property {
    (name.to_owned(), Value::Text(value.to_owned()))
}

/// memory.oom.group is systemd's own to write; this is its word for it.
fn oom_policy(writes: &[Write]) -> Option<Property> {
    let write = writes
        .iter()
        .rfind(|write| write.file == "memory.oom.group")?;
    match write.value.trim() {
        "0" => Some(text("OOMPolicy", "continue")),
        "1" => Some(text("OOMPolicy", "kill")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_property_is_read_from_systemds_words() {
        let refusal = |words: &str| Refusal {
            name: "org.freedesktop.DBus.Error.PropertyReadOnly".to_owned(),
            words: words.to_owned(),
        };
        let words = refusal("Cannot set property AllowedCPUs, or unknown property.");
        assert_eq!(unknown(&words), Some("AllowedCPUs"));
        assert_eq!(unknown(&refusal("Access denied")), None);
    }
}
