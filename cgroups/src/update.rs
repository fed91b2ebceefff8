//! Changes the limits of a cgroup in which processes live: all of the change, or none of it.
//! Not its job: what is written (limits).

use oci_spec::runtime::LinuxResources;

use crate::limits::{Present, changes};
use crate::systemd::{self, Whose};
use crate::{Cgroup, Result, Write, cgroup, location};

impl Cgroup {
    /// Changes its limits to what `resources` say; what they do not speak of stays.
    ///
    /// # Errors
    /// [`crate::Error::Spec`], [`crate::Error::NoController`], [`crate::Error::Enable`]; [`crate::Error::Write`] for the first that the
    /// kernel refuses, and then those before it have been taken back.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        let writes = changes(resources, &self.present()?)?;
        self.change(&writes)
    }

    /// The same for a cgroup that is the `unit` of a systemd, which is told first.
    ///
    /// # Errors
    /// As [`Cgroup::update`]; [`crate::Error::Bus`], [`crate::Error::Systemd`].
    pub fn update_unit(&self, resources: &LinuxResources, whose: Whose, unit: &str) -> Result<()> {
        let writes = changes(resources, &self.present()?)?;
        systemd::update(whose, unit, &writes)?;
        self.change(&writes)
    }

    fn change(&self, writes: &[Write]) -> Result<()> {
        self.hand_down(writes)?;
        let mut done: Vec<Write> = Vec::new();
        for write in writes {
            let before = self.before(write)?;
            if let Err(error) = self.apply(std::slice::from_ref(write)) {
                // The first error is the one to be told; a limit that was just lifted may not fit again.
                for write in done.iter().rev() {
                    let _ = self.apply(std::slice::from_ref(write));
                }
                return Err(error);
            }
            done.extend(before);
        }
        Ok(())
    }

    /// What holds now of the limits that depend on each other.
    ///
    /// # Errors
    /// [`crate::Error::Interface`].
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
    /// [`crate::Error::NoController`], [`crate::Error::Enable`].
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

    /// The write that undoes `write`; none if there is no such file.
    fn before(&self, write: &Write) -> Result<Option<Write>> {
        let files = [Some(&write.file), write.instead()];
        for file in files.into_iter().flatten() {
            if let Some(text) = self.read_if_there(file)? {
                let value = before(file, &write.value, &text);
                return Ok(Some(Write {
                    file: file.clone(),
                    value,
                    if_missing: crate::IfMissing::Skip,
                    ..write.clone()
                }));
            }
        }
        Ok(None)
    }
}

/// What to write to `file`, which held `text`, to undo the writing of `value`.
fn before(file: &str, value: &str, text: &str) -> String {
    let keyed = matches!(
        file,
        "io.max" | "io.weight" | "io.bfq.weight" | "rdma.max" | "misc.max"
    );
    if !keyed {
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
