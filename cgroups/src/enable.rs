//! Hands controllers down the tree to a container's cgroup. Not its job: setting limits with them (apply).

use std::os::fd::BorrowedFd;
use std::path::Path;

use sys::{Errno, SysError};

use crate::{Controller, Error, Result, Write, interface, location};

/// The controllers that the cgroup is to have.
pub(crate) struct Wanted<'a> {
    /// Those that limits need, with the limit's JSON path.
    needed: Vec<(&'a Controller, &'a str)>,
    /// Those that are worth having, if the tree has them.
    useful: Vec<Controller>,
}

impl<'a> Wanted<'a> {
    /// Looks at what the root of the tree has.
    pub(crate) fn new(root: BorrowedFd<'_>, path: &Path, writes: &'a [Write]) -> Result<Self> {
        let mut needed: Vec<(&Controller, &str)> = Vec::new();
        for write in writes {
            if let Some(controller) = &write.controller
                && !needed.iter().any(|(other, _)| *other == controller)
            {
                needed.push((controller, &write.field));
            }
        }
        let has = words(root, path, "cgroup.controllers")?;
        let is_there = |c: &Controller| has.split_ascii_whitespace().any(|word| word == c.name());
        for (controller, field) in &needed {
            if !is_there(controller) {
                return Err(lacking(controller, field, &has, path));
            }
        }
        let useful = Controller::ACCOUNTING
            .into_iter()
            .filter(|c| is_there(c) && !needed.iter().any(|(other, _)| *other == c))
            .collect();
        Ok(Self { needed, useful })
    }

    /// Hands them down from `dir` to the cgroups below it.
    pub(crate) fn enable(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
        if self.needed.is_empty() && self.useful.is_empty() {
            return Ok(());
        }
        let enabled = words(dir, path, "cgroup.subtree_control")?;
        let is_missing = |c: &Controller| !enabled.split_ascii_whitespace().any(|w| w == c.name());
        let needed: Vec<_> = self.needed.iter().filter(|(c, _)| is_missing(c)).collect();
        let useful = self.useful.iter().filter(|c| is_missing(c));
        let plus = |names: &[&Controller]| {
            let names: Vec<_> = names.iter().map(|name| format!("+{name}")).collect();
            names.join(" ")
        };
        let needed_names: Vec<_> = needed.iter().map(|(c, _)| *c).collect();
        let mut all = needed_names.clone();
        all.extend(useful);
        if all.is_empty() || interface::write(dir, "cgroup.subtree_control", &plus(&all)).is_ok() {
            return Ok(());
        }
        // What is only useful may be missing here (a parent did not hand it down): go without.
        if needed_names.is_empty() {
            return Ok(());
        }
        let controllers = plus(&needed_names);
        let Err(source) = interface::write(dir, "cgroup.subtree_control", &controllers) else {
            return Ok(());
        };
        let has = words(dir, path, "cgroup.controllers")?;
        let is_there = |c: &Controller| has.split_ascii_whitespace().any(|word| word == c.name());
        match needed.iter().find(|(c, _)| !is_there(c)) {
            Some((controller, field)) => Err(lacking(controller, field, &has, path)),
            None => Err(Error::Enable {
                controllers,
                path: path.to_owned(),
                source: explain(source, dir),
            }),
        }
    }
}

/// Why a controller that is there can't be handed down, where we can see it.
fn explain(error: SysError, dir: BorrowedFd<'_>) -> SysError {
    let lives_here = || interface::read(dir, "cgroup.procs").is_ok_and(|text| !text.is_empty());
    match error.errno {
        Errno::BUSY if lives_here() => error.with_note(
            "processes live in it, and cgroup v2 hands controllers only to cgroups below one without",
        ),
        Errno::ACCESS | Errno::PERM => error.with_note("it is not delegated to this user"),
        _ => error,
    }
}

fn lacking(controller: &Controller, field: &str, has: &str, path: &Path) -> Error {
    let names = has.split_ascii_whitespace().collect::<Vec<_>>().join(", ");
    let mut has = match names.as_str() {
        "" => "none".to_owned(),
        names => format!("only {names}"),
    };
    // That v1 can't be asked about is no news beside the missing controller.
    if let Ok(mounts) = location::mounts()
        && let Some(v1) = mounts.v1(controller)
    {
        let v1 = v1.display();
        has.push_str(&format!(
            "; this host mounts {controller} as cgroup v1 at {v1}"
        ));
    }
    Error::NoController {
        field: field.to_owned(),
        controller: controller.clone(),
        has,
        directory: path.to_owned(),
    }
}

fn words(dir: BorrowedFd<'_>, path: &Path, file: &str) -> Result<String> {
    interface::read(dir, file).map_err(|source| Error::Interface {
        what: "read the controllers of",
        path: path.to_owned(),
        source,
    })
}
