//! Changes the limits of a cgroup in which processes live: all of the change, or none of it.
//! Not its job: what is written (limits).

use oci_spec::runtime::LinuxResources;

use crate::limits::{Present, changes};
use crate::systemd::{self, Whose};
use crate::{Cgroup, Error, Result, Write, cgroup, location};

/// A change that was refused.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Box<Error>,
    /// What was changed by then and could not be taken back: a limit that was just lifted may not fit again.
    pub kept: Vec<Error>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self {
            error: Box::new(error),
            kept: Vec::new(),
        }
    }
}

/// The unit that a cgroup is to a systemd.
type Unit<'a> = (Whose, &'a str);

impl Cgroup {
    /// Changes its limits to what `resources` say; what they do not speak of stays.
    ///
    /// # Errors
    /// [`Error::Spec`], [`Error::NoController`], [`Error::Enable`]; [`Error::Write`] for the first that the kernel
    /// refuses, and then those before it have been taken back but for those that are named.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Refused> {
        let writes = changes(resources, &self.present()?)?;
        self.hand_down(&writes)?;
        self.change(&writes, None)
    }

    /// The same for a cgroup that is the `unit` of a systemd, which is told first.
    ///
    /// # Errors
    /// As [`Cgroup::update`]; [`Error::Bus`], [`Error::Systemd`].
    pub fn update_unit(
        &self,
        resources: &LinuxResources,
        whose: Whose,
        unit: &str,
    ) -> Result<(), Refused> {
        let writes = changes(resources, &self.present()?)?;
        self.change(&writes, Some((whose, unit)))
    }

    fn change(&self, writes: &[Write], unit: Option<Unit<'_>>) -> Result<(), Refused> {
        // All of it is known before the first is changed, by us or by systemd.
        let before = undoing(writes, |file| self.read_if_there(file))?;
        let mut tried = 0;
        self.carry_out(writes, unit, &mut tried)
            .map_err(|error| Refused {
                error: Box::new(error),
                kept: self.take_back(&before[..tried], unit),
            })
    }

    /// Counts in `tried` the writes that may have changed something.
    fn carry_out(&self, writes: &[Write], unit: Option<Unit<'_>>, tried: &mut usize) -> Result<()> {
        if let Some((whose, name)) = unit {
            systemd::update(whose, name, writes)?;
            *tried = writes.len();
            self.hand_down(writes)?;
        }
        for (number, write) in writes.iter().enumerate() {
            // Of several lines the first may have been taken.
            let refused = number + usize::from(write.value.lines().count() > 1);
            *tried = refused.max(*tried);
            self.apply(std::slice::from_ref(write))?;
            *tried = (number + 1).max(*tried);
        }
        Ok(())
    }

    /// Writes what was before, the last change first; gives what failed of it.
    fn take_back(&self, before: &[Option<Write>], unit: Option<Unit<'_>>) -> Vec<Error> {
        let writes: Vec<Write> = before.iter().rev().flatten().cloned().collect();
        let told = match unit {
            // It rounds what we then write exactly.
            Some((whose, name)) => systemd::update(whose, name, &writes).err(),
            None => None,
        };
        let written = writes
            .iter()
            .filter_map(|write| self.apply(std::slice::from_ref(write)).err());
        told.into_iter().chain(written).collect()
    }

    /// What holds now of the limits that depend on each other.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn present(&self) -> Result<Present> {
        let cpu = self.read_if_there("cpu.max")?.unwrap_or_default();
        let mut cpu = cpu.split_ascii_whitespace().map(|word| word.parse().ok());
        Ok(Present {
            quota: cpu.next().flatten(),
            period: cpu.next().flatten(),
            memory: self.number("memory.max")?,
            swap: self.number("memory.swap.max")?,
            memory_used: self.number("memory.current")?.unwrap_or(0),
            swap_used: self.number("memory.swap.current")?.unwrap_or(0),
        })
    }

    /// Hands down to it the controllers that `writes` need and that it was made without.
    ///
    /// # Errors
    /// [`Error::NoController`], [`Error::Enable`].
    pub fn hand_down(&self, writes: &[Write]) -> Result<()> {
        let has = self.read("read the controllers of", "cgroup.controllers")?;
        let is_there = |write: &Write| match &write.controller {
            Some(controller) => has.split_ascii_whitespace().any(|c| c == controller.name()),
            None => true,
        };
        if writes.iter().all(is_there) {
            return Ok(());
        }
        let root = location::tree()?;
        if self.path().starts_with(&root) {
            cgroup::enable_down_to(&root, self.path(), writes)?;
        }
        Ok(())
    }
}

/// For each write the one that undoes it, given that those before it were made; none where there is no such file.
fn undoing(
    writes: &[Write],
    read: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Vec<Option<Write>>> {
    let mut undoing: Vec<Option<Write>> = Vec::new();
    for (number, write) in writes.iter().enumerate() {
        let mut held = None;
        for file in [Some(&write.file), write.instead()].into_iter().flatten() {
            let earlier = writes[..number].iter().rfind(|other| other.file == *file);
            let text = match earlier {
                Some(earlier) if !is_keyed(file) => Some(earlier.value.clone()),
                _ => read(file)?,
            };
            if let Some(text) = text {
                held = Some((file, text));
                break;
            }
        }
        undoing.push(held.map(|(file, text)| Write {
            file: file.clone(),
            value: before(file, &write.value, &text),
            if_missing: crate::IfMissing::Skip,
            ..write.clone()
        }));
    }
    Ok(undoing)
}

/// Whether each line of `file` is a setting of its own, by its first word.
fn is_keyed(file: &str) -> bool {
    matches!(
        file,
        "io.max" | "io.weight" | "io.bfq.weight" | "rdma.max" | "misc.max"
    )
}

/// What to write to `file`, which held `text`, to undo the writing of `value`.
fn before(file: &str, value: &str, text: &str) -> String {
    if !is_keyed(file) {
        return text.trim_end().to_owned();
    }
    let lines = value.lines().map(|line| {
        let key = match line.split_once(' ') {
            Some((key, _)) => key,
            // A weight without a device.
            None => "default",
        };
        let held = text
            .lines()
            .find(|held| held.split(' ').next() == Some(key));
        held.map(str::to_owned).unwrap_or_else(|| unset(file, key))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What takes away the setting of one device.
fn unset(file: &str, key: &str) -> String {
    match file {
        "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
        "misc.max" => format!("{key} max"),
        _ => format!("{key} default"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_twice_goes_back_the_way_it_came() {
        let write = |value: &str, file: &str| Write {
            file: file.to_owned(),
            value: value.to_owned(),
            field: String::new(),
            controller: None,
            if_missing: crate::IfMissing::Fail,
        };
        let writes = [
            write("0", "cpu.max.burst"),
            write("9 100", "cpu.max"),
            write("5", "cpu.max.burst"),
            write("5", "missing"),
        ];
        let held = |file: &str| match file {
            "cpu.max.burst" => Ok(Some("7\n".to_owned())),
            "cpu.max" => Ok(Some("50 100\n".to_owned())),
            _ => Ok(None),
        };
        let undoing = undoing(&writes, held).unwrap();
        let values: Vec<_> = undoing
            .iter()
            .map(|write| write.as_ref().map(|write| write.value.as_str()))
            .collect();
        assert_eq!(values, [Some("7"), Some("50 100"), Some("0"), None]);
    }

    #[test]
    fn each_write_can_be_taken_back() {
        let table = [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "1 2", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "1", "\n", ""),
            ("io.weight", "500", "default 100\n8:0 50\n", "default 100"),
            ("io.weight", "8:0 500", "default 100\n8:0 50\n", "8:0 50"),
            ("io.weight", "8:16 500", "default 100\n", "8:16 default"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=max wbps=7 riops=max wiops=max\n",
                "8:0 rbps=max wbps=7 riops=max wiops=max",
            ),
            (
                "io.max",
                "8:0 rbps=5",
                "",
                "8:0 rbps=max wbps=max riops=max wiops=max",
            ),
            (
                "rdma.max",
                "mlx4_0 hca_object=5",
                "mlx4_0 hca_handle=2 hca_object=max\n",
                "mlx4_0 hca_handle=2 hca_object=max",
            ),
        ];
        for (file, value, text, expected) in table {
            assert_eq!(before(file, value, text), expected, "{file} {value}");
        }
    }
}
