//! What a further process is to be: the configuration's process, or one from a file, changed by what the
//! caller asks for. Pure. Not its job: reading files and flags.

use std::path::PathBuf;

use oci_spec::runtime::{Capability, LinuxCapabilities, Process};

/// What a caller of `exec` asks for; what is not asked for is as the container's own process has it.
#[derive(Debug, Default)]
pub struct Asked {
    /// A whole process, in place of the configuration's.
    pub process: Option<Process>,
    /// The program and its arguments; empty if a whole process is given.
    pub args: Vec<String>,
    /// It gets a terminal.
    pub terminal: bool,
    /// Its user, and its group if that is given too.
    pub user: Option<(u32, Option<u32>)>,
    /// Groups beside those that it has.
    pub groups: Vec<u32>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// Variables, `NAME=value`, in place of those of the same names.
    pub env: Vec<String>,
    /// Capabilities beside those that it has.
    pub capabilities: Vec<Capability>,
    /// No exec may give it new privileges.
    pub no_new_privileges: bool,
    /// Its SELinux label.
    pub selinux_label: Option<String>,
    /// Its AppArmor profile.
    pub apparmor_profile: Option<String>,
}

impl Asked {
    /// The process, in a container whose own is `base`.
    pub(crate) fn process(self, base: Process) -> Process {
        let mut process = match self.process {
            Some(given) => complete(given, base),
            None => {
                let mut process = base;
                // A terminal is asked for each time anew.
                process.set_terminal(None).set_console_size(None);
                process
            }
        };
        if !self.args.is_empty() {
            process.set_args(Some(self.args));
        }
        if self.terminal {
            process.set_terminal(Some(true));
        }
        if let Some((uid, gid)) = self.user {
            let user = process.user_mut();
            user.set_uid(uid);
            user.set_gid(gid.unwrap_or_else(|| user.gid()));
        }
        if !self.groups.is_empty() {
            let groups = process.user_mut().additional_gids_mut();
            groups.get_or_insert_default().extend(self.groups);
        }
        if let Some(cwd) = self.cwd {
            process.set_cwd(cwd);
        }
        let env = process.env_mut().get_or_insert_default();
        self.env.into_iter().for_each(|pair| set(env, pair));
        if !self.capabilities.is_empty() {
            let sets = process.capabilities().clone();
            process.set_capabilities(Some(with(sets, &self.capabilities)));
        }
        if self.no_new_privileges {
            process.set_no_new_privileges(Some(true));
        }
        if self.selinux_label.is_some() {
            process.set_selinux_label(self.selinux_label);
        }
        if self.apparmor_profile.is_some() {
            process.set_apparmor_profile(self.apparmor_profile);
        }
        process
    }
}

/// What a process from a file leaves out and is not nothing by that: rights and limits are the container's,
/// as runc has it.
fn complete(mut given: Process, base: Process) -> Process {
    macro_rules! or_base {
        ($($get:ident $set:ident),*) => {
            $(if given.$get().is_none() {
                given.$set(base.$get().clone());
            })*
        };
    }
    or_base!(
        capabilities set_capabilities,
        scheduler set_scheduler,
        io_priority set_io_priority,
        exec_cpu_affinity set_exec_cpu_affinity,
        oom_score_adj set_oom_score_adj
    );
    if given.rlimits().as_ref().is_none_or(Vec::is_empty) {
        given.set_rlimits(base.rlimits().clone());
    }
    let unset = |label: &Option<String>| label.as_deref().is_none_or(str::is_empty);
    if unset(given.apparmor_profile()) {
        given.set_apparmor_profile(base.apparmor_profile().clone());
    }
    if unset(given.selinux_label()) {
        given.set_selinux_label(base.selinux_label().clone());
    }
    given
}

/// A program looks at the first variable of a name only: the older one goes.
fn set(env: &mut Vec<String>, pair: String) {
    let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
    env.retain(|old| old.split_once('=').is_none_or(|(known, _)| known != name));
    env.push(pair);
}

/// The inheritable set stays as it is: nobody asked for that (CVE-2022-29162).
fn with(sets: Option<LinuxCapabilities>, more: &[Capability]) -> LinuxCapabilities {
    let mut sets = sets.unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        none.set_bounding(None)
            .set_effective(None)
            .set_inheritable(None)
            .set_permitted(None)
            .set_ambient(None);
        none
    });
    let add = |set: &Option<std::collections::HashSet<Capability>>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(more);
        Some(set)
    };
    let bounding = add(sets.bounding());
    let effective = add(sets.effective());
    let permitted = add(sets.permitted());
    sets.set_bounding(bounding)
        .set_effective(effective)
        .set_permitted(permitted);
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"{"terminal":true,"user":{"uid":5,"gid":6,"additionalGids":[7]},"cwd":"/base",
        "env":["PATH=/bin","A=1"],"noNewPrivileges":true,"oomScoreAdj":9,
        "rlimits":[{"type":"RLIMIT_CORE","soft":0,"hard":0}],
        "capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}}"#;

    fn base() -> Process {
        serde_json::from_str(BASE).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_is_the_containers_but_for_the_terminal() {
        let asked = Asked {
            args: vec!["sh".to_owned()],
            ..Asked::default()
        };
        let process = asked.process(base());
        let mut expected = base();
        expected
            .set_terminal(None)
            .set_args(Some(vec!["sh".to_owned()]));
        assert_eq!(process, expected);
    }

    #[test]
    fn a_variable_replaces_the_one_of_its_name() {
        let asked = Asked {
            env: vec!["A=2".to_owned(), "B=3".to_owned()],
            ..Asked::default()
        };
        let process = asked.process(base());
        assert_eq!(
            process.env().as_deref().unwrap(),
            ["PATH=/bin", "A=2", "B=3"]
        );
    }

    #[test]
    fn a_user_keeps_the_group_that_is_not_given() {
        let asked = Asked {
            user: Some((100, None)),
            groups: vec![8],
            ..Asked::default()
        };
        let process = asked.process(base());
        let user = process.user();
        assert_eq!((user.uid(), user.gid()), (100, 6));
        assert_eq!(user.additional_gids().as_deref().unwrap(), [7, 8]);
    }

    #[test]
    fn more_capabilities_are_neither_inheritable_nor_ambient() {
        let asked = Asked {
            capabilities: vec![Capability::Chown],
            ..Asked::default()
        };
        let process = asked.process(base());
        let sets = process.capabilities().as_ref().unwrap();
        for set in [sets.bounding(), sets.effective(), sets.permitted()] {
            let set = set.as_ref().unwrap();
            assert!(set.contains(&Capability::Chown) && set.contains(&Capability::Kill));
        }
        assert_eq!((sets.inheritable(), sets.ambient()), (&None, &None));
    }

    #[test]
    fn a_process_of_a_file_is_taken_as_it_is_with_the_containers_rights_and_limits() {
        let file = r#"{"user":{},"cwd":"/f","args":["x"],"terminal":true}"#;
        let asked = Asked {
            process: serde_json::from_str(file).unwrap(),
            ..Asked::default()
        };
        let process = asked.process(base());
        assert_eq!((process.user().uid(), process.terminal()), (0, Some(true)));
        assert_eq!(process.cwd().to_str(), Some("/f"));
        assert_eq!(process.capabilities(), base().capabilities());
        assert_eq!(process.rlimits(), base().rlimits());
        assert_eq!(process.no_new_privileges(), None);
        assert_eq!(process.env().as_deref(), Some(&[] as &[String]));
    }
}
