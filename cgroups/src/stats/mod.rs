//! What a cgroup has used and where it stands against its limits. Not its job: showing it, and watching
//! (events).

mod parse;

use sys::Errno;

use crate::{Cgroup, Error, Result, interface};

/// Use so far and now; none where the cgroup does not have the controller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub pids: Option<Pids>,
    /// Block devices.
    pub io: Option<Io>,
    /// Huge pages, by size as the kernel writes it: `2MB`.
    pub hugetlb: Vec<(String, HugePages)>,
}

/// Processor time, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpu {
    /// All of it.
    pub usage: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods in which the quota was enforced.
    pub periods: u64,
    /// Those in which it ran out.
    pub throttled_periods: u64,
    /// How long it was held back.
    pub throttled: u64,
    /// How long it waited for a processor.
    pub pressure: Option<Pressure>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// In use.
    pub usage: u64,
    /// At most; none for no limit.
    pub limit: Option<u64>,
    /// The most that was ever in use (Linux 5.19).
    pub peak: Option<u64>,
    /// Swap in use, and at most; none on a kernel without swap.
    pub swap: Option<(u64, Option<u64>)>,
    /// memory.stat.
    pub stat: Vec<(String, u64)>,
    /// memory.events: how often a limit was met, and a process killed for it.
    pub events: Vec<(String, u64)>,
    /// How long it waited for memory.
    pub pressure: Option<Pressure>,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// At most; none for no limit.
    pub limit: Option<u64>,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Io {
    /// Those that were used.
    pub devices: Vec<DeviceIo>,
    /// How long it waited for them.
    pub pressure: Option<Pressure>,
}

/// What was read from and written to one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// Its number's first part.
    pub major: u64,
    /// Its number's second part.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Huge pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// Bytes in use.
    pub usage: u64,
    /// How often the limit was met.
    pub failures: u64,
}

/// How long processes waited for something (PSI).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pressure {
    /// While at least one waited.
    pub some: Averages,
    /// While all did.
    pub full: Averages,
}

/// A share of time, in percent over the last seconds, and in microseconds altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Over ten seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// Altogether.
    pub total: u64,
}

impl Cgroup {
    /// Reads its use.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn stats(&self) -> Result<Stats> {
        Ok(Stats {
            cpu: self.cpu()?,
            memory: self.memory()?,
            pids: self.pids()?,
            io: self.io()?,
            hugetlb: self.huge_pages()?,
        })
    }

    /// How many processes in it and below it the kernel killed for want of memory; `None` without the
    /// memory controller, which alone knows.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        let text = self.read_if_there("memory.events")?;
        Ok(text.and_then(|text| interface::keyed(&text, "oom_kill")))
    }

    fn cpu(&self) -> Result<Option<Cpu>> {
        let Some(text) = self.read_if_there("cpu.stat")? else {
            return Ok(None);
        };
        let number = |key| interface::keyed(&text, key).unwrap_or(0);
        Ok(Some(Cpu {
            usage: number("usage_usec"),
            user: number("user_usec"),
            system: number("system_usec"),
            periods: number("nr_periods"),
            throttled_periods: number("nr_throttled"),
            throttled: number("throttled_usec"),
            pressure: self.pressure("cpu.pressure")?,
        }))
    }

    fn memory(&self) -> Result<Option<Memory>> {
        let Some(usage) = self.number("memory.current")? else {
            return Ok(None);
        };
        let swap = match self.number("memory.swap.current")? {
            Some(usage) => Some((usage, self.number("memory.swap.max")?)),
            None => None,
        };
        let pairs = |text: Option<String>| parse::pairs(&text.unwrap_or_default());
        Ok(Some(Memory {
            usage,
            limit: self.number("memory.max")?,
            peak: self.number("memory.peak")?,
            swap,
            stat: pairs(self.read_if_there("memory.stat")?),
            events: pairs(self.read_if_there("memory.events")?),
            pressure: self.pressure("memory.pressure")?,
        }))
    }

    fn pids(&self) -> Result<Option<Pids>> {
        let Some(current) = self.number("pids.current")? else {
            return Ok(None);
        };
        let limit = self.number("pids.max")?;
        Ok(Some(Pids { current, limit }))
    }

    fn io(&self) -> Result<Option<Io>> {
        let Some(text) = self.read_if_there("io.stat")? else {
            return Ok(None);
        };
        Ok(Some(Io {
            devices: parse::devices(&text),
            pressure: self.pressure("io.pressure")?,
        }))
    }

    fn huge_pages(&self) -> Result<Vec<(String, HugePages)>> {
        let names = sys::file::list(&self.dir).map_err(self.interface("read the use of"))?;
        let mut sizes: Vec<String> = names
            .iter()
            .filter_map(|(name, _)| {
                name.to_str()?
                    .strip_prefix("hugetlb.")?
                    .strip_suffix(".current")
            })
            // `2MB`, and not `2MB.rsvd`.
            .filter(|size| !size.contains('.'))
            .map(str::to_owned)
            .collect();
        sizes.sort_unstable();
        let mut all = Vec::new();
        for size in sizes {
            let usage = self
                .number(&format!("hugetlb.{size}.current"))?
                .unwrap_or(0);
            let events = self.read_if_there(&format!("hugetlb.{size}.events"))?;
            let failures = interface::keyed(&events.unwrap_or_default(), "max").unwrap_or(0);
            all.push((size, HugePages { usage, failures }));
        }
        Ok(all)
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        let text = self.read_if_there(file)?;
        Ok(text.as_deref().and_then(parse::pressure))
    }

    /// The number that a file holds; none for `max`, and where there is no such file.
    pub(crate) fn number(&self, file: &str) -> Result<Option<u64>> {
        let text = self.read_if_there(file)?;
        Ok(text.and_then(|text| text.trim_end().parse().ok()))
    }

    pub(crate) fn read_if_there(&self, file: &str) -> Result<Option<String>> {
        match self.read("read the use of", file) {
            Ok(text) => Ok(Some(text)),
            // Pressure is there and can't be read where the kernel was told not to measure it.
            Err(Error::Interface { source, .. })
                if matches!(source.errno, Errno::NOENT | Errno::OPNOTSUPP) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
