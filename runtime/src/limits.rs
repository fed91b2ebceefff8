//! How the kernel is to treat a program: its scheduling, I/O priority, processors, memory nodes, execution
//! domain. Read from the spec with the kernel's numbers (pure), then set. What is set counts for whatever
//! the process becomes. Not its job: when (plan), resource limits of a cgroup (cgroups).

use std::fmt;

use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Scheduler,
};
use sys::scheduler::{self, Attributes};

/// The most processors or nodes that a list may name: eight times what any kernel is built for.
const MOST: usize = 65_536;

/// What is wrong: the rest of the field's JSON path, and the reason.
pub(crate) type Wrong = (&'static str, String);

/// process.scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduling {
    policy: LinuxSchedulerPolicy,
    attributes: Attributes,
}

impl Scheduling {
    /// With the kernel's numbers; what does not go together is refused, as the kernel would ignore it.
    pub(crate) fn read(spec: &Scheduler) -> Result<Self, Wrong> {
        use LinuxSchedulerPolicy as Policy;
        let policy = *spec.policy();
        let nice = spec.nice().unwrap_or(0);
        if !(-20..=19).contains(&nice) {
            return Err((".nice", format!("{nice} is not in -20 to 19")));
        }
        let priority = spec.priority().unwrap_or(0);
        let realtime = matches!(policy, Policy::SchedFifo | Policy::SchedRr);
        if priority != 0 && !realtime {
            let reason = format!("{priority} is for SCHED_FIFO and SCHED_RR, not for {policy}");
            return Err((".priority", reason));
        }
        if realtime && !(1..=99).contains(&priority) {
            return Err((".priority", format!("{priority} is not in 1 to 99")));
        }
        let times =
            [*spec.runtime(), *spec.deadline(), *spec.period()].map(Option::unwrap_or_default);
        if times != [0; 3] && policy != Policy::SchedDeadline {
            let reason = format!("{} is for SCHED_DEADLINE, not for {policy}", times[0]);
            return Err((".runtime", reason));
        }
        let flags = spec.flags().iter().flatten();
        let attributes = Attributes {
            policy: policy_number(policy),
            flags: flags.fold(0, |bits, flag| bits | flag_bit(*flag)),
            nice,
            priority: priority.unsigned_abs(),
            runtime: times[0],
            deadline: times[1],
            period: times[2],
            ..Attributes::default()
        };
        Ok(Self { policy, attributes })
    }

    /// Sets it for the process `pid` (0: our own).
    pub(crate) fn set(&self, pid: i32) -> sys::Result<()> {
        scheduler::set_attributes(pid, &self.attributes)
    }
}

fn policy_number(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

fn flag_bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = &self.attributes;
        write!(f, "scheduling to {}", self.policy)?;
        match self.policy {
            LinuxSchedulerPolicy::SchedDeadline => {
                write!(f, " {}/{}/{} ns", a.runtime, a.deadline, a.period)
            }
            LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr => {
                write!(f, " {}", a.priority)
            }
            _ => write!(f, ", nice {}", a.nice),
        }
    }
}

/// process.ioPriority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    class: IOPriorityClass,
    level: u16,
}

impl IoPriority {
    pub(crate) fn read(spec: LinuxIOPriority) -> Result<Self, Wrong> {
        let level = spec.priority();
        match u16::try_from(level).ok().filter(|level| *level <= 7) {
            Some(level) => Ok(Self {
                class: spec.class(),
                level,
            }),
            None => Err((".priority", format!("{level} is not in 0 to 7"))),
        }
    }

    /// Sets it for the process `pid` (0: our own).
    pub(crate) fn set(self, pid: i32) -> sys::Result<()> {
        let class = match self.class {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        scheduler::set_io_priority(pid, class, self.level)
    }
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I/O priority to {} {}", self.class, self.level)
    }
}

/// linux.memoryPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    words: String,
    mode: u32,
    nodes: Vec<u64>,
}

impl MemoryPolicy {
    pub(crate) fn read(spec: &LinuxMemoryPolicy) -> Result<Self, Wrong> {
        let list = spec.nodes().as_deref().unwrap_or_default();
        let nodes = bits(list).map_err(|reason| (".nodes", reason))?;
        let mut mode = mode_number(spec.mode());
        for flag in spec.flags().iter().flatten() {
            mode |= match flag {
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            };
        }
        let mut words = spec.mode().to_string();
        if !nodes.is_empty() {
            words.push_str(&format!(" of nodes {list}"));
        }
        Ok(Self { words, mode, nodes })
    }

    /// Sets it for this process.
    pub(crate) fn set(&self) -> sys::Result<()> {
        scheduler::set_memory_policy(self.mode, &self.nodes)
    }
}

fn mode_number(mode: MemoryPolicyModeType) -> u32 {
    match mode {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    }
}

impl fmt::Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory policy to {}", self.words)
    }
}

/// linux.personality: an execution domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Personality(LinuxPersonalityDomain);

impl Personality {
    pub(crate) fn read(spec: &LinuxPersonality) -> Result<Self, Wrong> {
        match spec.flags().iter().flatten().next() {
            // config-linux.md, "Personality": no value is defined.
            Some(flag) => Err((
                ".flags",
                format!("{flag:?} is not supported: the spec has none"),
            )),
            None => Ok(Self(spec.domain())),
        }
    }

    /// Sets it for this process.
    pub(crate) fn set(self) -> sys::Result<()> {
        scheduler::set_personality(match self.0 {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        })
    }
}

impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "execution domain to {}", self.0)
    }
}

/// Processors, bit by bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processors {
    words: String,
    mask: Vec<u64>,
}

impl Processors {
    /// process.execCPUAffinity: where a process that joins the container runs before it is in the cgroup,
    /// and where after. The container's first process has none.
    pub(crate) fn read(spec: &ExecCPUAffinity) -> Result<[Option<Self>; 2], Wrong> {
        let one = |field, list: &Option<String>| match list.as_deref().unwrap_or_default() {
            "" => Ok(None),
            list => match bits(list) {
                Ok(mask) => Ok(Some(Self {
                    words: list.to_owned(),
                    mask,
                })),
                Err(reason) => Err((field, reason)),
            },
        };
        Ok([
            one(".initial", spec.initial())?,
            one(".final", spec.cpu_affinity_final())?,
        ])
    }

    /// Sets them for the process `pid` (0: our own).
    pub(crate) fn set(&self, pid: i32) -> sys::Result<()> {
        scheduler::set_affinity(pid, &self.mask)
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "processors to {}", self.words)
    }
}

/// A list as the kernel prints them, `0-3,7`, as bits in words of 64; nothing for an empty one.
fn bits(list: &str) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    if list.trim().is_empty() {
        return Ok(words);
    }
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n: &usize| digits && *n < MOST)
        };
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!(
                "{part:?} in {list:?} is no number or range below {MOST}"
            ));
        };
        if first > last {
            return Err(format!("the range {part:?} in {list:?} runs backwards"));
        }
        if words.len() <= last / 64 {
            words.resize(last / 64 + 1, 0);
        }
        for n in first..=last {
            words[n / 64] |= 1 << (n % 64);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_ranges_is_bits() {
        assert_eq!(bits("0-3,7").unwrap(), [0b1000_1111]);
        assert_eq!(bits("64, 2000").unwrap()[1], 1);
        assert_eq!(bits("2000").unwrap()[31], 1 << (2000 - 31 * 64));
        assert_eq!(bits("").unwrap(), [0_u64; 0]);
        for wrong in ["a", "3-1", "1-", "-1", "+1", "1,,2", "0-99999999"] {
            assert!(bits(wrong).is_err(), "{wrong}");
        }
    }

    fn scheduling(json: &str) -> Result<Attributes, String> {
        let spec: Scheduler = serde_json::from_str(json).unwrap();
        match Scheduling::read(&spec) {
            Ok(scheduling) => Ok(scheduling.attributes),
            Err((field, reason)) => Err(format!("{field}: {reason}")),
        }
    }

    #[test]
    fn a_policy_has_the_kernels_numbers() {
        let deadline = scheduling(
            r#"{"policy":"SCHED_DEADLINE","flags":["SCHED_FLAG_RECLAIM"],"runtime":1,"deadline":2,"period":3}"#,
        );
        let expected = Attributes {
            policy: 6,
            flags: 2,
            runtime: 1,
            deadline: 2,
            period: 3,
            ..Attributes::default()
        };
        assert_eq!(deadline, Ok(expected));
        let batch = scheduling(r#"{"policy":"SCHED_BATCH","nice":5}"#).unwrap();
        assert_eq!((batch.policy, batch.nice), (3, 5));
    }

    #[test]
    fn what_a_policy_can_not_have_is_named() {
        for (json, fault) in [
            (
                r#"{"policy":"SCHED_OTHER","nice":20}"#,
                ".nice: 20 is not in -20 to 19",
            ),
            (
                r#"{"policy":"SCHED_IDLE","priority":3}"#,
                ".priority: 3 is for SCHED_FIFO and SCHED_RR, not for SCHED_IDLE",
            ),
            (
                r#"{"policy":"SCHED_FIFO"}"#,
                ".priority: 0 is not in 1 to 99",
            ),
            (
                r#"{"policy":"SCHED_RR","priority":1,"runtime":9}"#,
                ".runtime: 9 is for SCHED_DEADLINE, not for SCHED_RR",
            ),
        ] {
            assert_eq!(scheduling(json), Err(fault.to_owned()));
        }
    }

    #[test]
    fn a_memory_policy_may_name_no_nodes() {
        let spec: LinuxMemoryPolicy = serde_json::from_str(r#"{"mode":"MPOL_LOCAL"}"#).unwrap();
        let local = MemoryPolicy::read(&spec).unwrap();
        assert_eq!((local.mode, local.nodes.len()), (4, 0));
        let spec = r#"{"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_STATIC_NODES"]}"#;
        let bind = MemoryPolicy::read(&serde_json::from_str(spec).unwrap()).unwrap();
        assert_eq!((bind.mode, bind.nodes.as_slice()), (2 | 1 << 15, &[3][..]));
    }

    #[test]
    fn an_io_priority_out_of_its_range_is_refused() {
        let spec = |level: i64| {
            let json = format!(r#"{{"class":"IOPRIO_CLASS_BE","priority":{level}}}"#);
            IoPriority::read(serde_json::from_str(&json).unwrap())
        };
        assert!(spec(7).is_ok() && spec(8).is_err() && spec(-1).is_err());
    }
}
