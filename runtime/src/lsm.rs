//! Labels of Linux security modules: AppArmor profiles and SELinux contexts. A label that is asked for and
//! can't be given stops the start. Not its job: loading policies.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use oci_spec::runtime::{Linux, Process, Spec};
use rootfs::mounts::Label as MountLabel;
use sys::at::OFlags;
use sys::{Errno, SysError};

use crate::{Error, Result};

/// The annotation that says which of SELinux's mount options `linux.mountLabel` is (crun's name).
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// Which modules enforce something here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modules {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

impl Modules {
    /// Asks the kernel: called only where a label is asked for.
    pub(crate) fn here() -> Self {
        Self {
            apparmor: apparmor_is_here(),
            selinux: selinux_is_here(),
        }
    }

    /// The facts that labels hang on; none where there are no labels.
    pub(crate) fn needed(process: Option<&Process>, linux: Option<&Linux>) -> Self {
        let labels = [
            process.and_then(|p| p.apparmor_profile().as_deref()),
            process.and_then(|p| p.selinux_label().as_deref()),
            linux.and_then(|l| l.mount_label().as_deref()),
        ];
        match labels.into_iter().flatten().all(str::is_empty) {
            true => Self::default(),
            false => Self::here(),
        }
    }
}

/// Its file system is registered only if it was enabled at boot; until a policy is loaded everything has the
/// context `kernel`, and nothing is enforced.
fn selinux_is_here() -> bool {
    let policy = || sys::proc::read("self/attr/current");
    sys::proc::read("filesystems").is_ok_and(|list| list.contains("\tselinuxfs\n"))
        && policy().is_ok_and(|own| own.trim_end_matches(['\0', '\n']) != "kernel")
}

/// Reading one's own profile fails where the module is compiled in and not enabled.
fn apparmor_is_here() -> bool {
    match own_folder() {
        true => sys::proc::read("self/attr/apparmor/current").is_ok(),
        // Before Linux 5.8 the modules shared their files, and only this parameter tells whose they are.
        false => sys::file::read("/sys/module/apparmor/parameters/enabled", 16)
            .is_ok_and(|text| text.starts_with(b"Y")),
    }
}

/// Whether AppArmor has files of its own in /proc/self/attr.
fn own_folder() -> bool {
    !sys::fault::broken("no-apparmor-folder")
        && !matches!(
            sys::proc::open("self/attr/apparmor", OFlags::PATH),
            Err(e) if e.errno == Errno::NOENT
        )
}

/// A label that a process is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// An AppArmor profile, from the next exec on.
    AppArmor(String),
    /// An SELinux context, from the next exec on.
    SeLinux(String),
}

impl Label {
    /// The labels that `process` asks for, on a host with these `modules`.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that no module here enforces.
    pub fn of_process(process: &Process, modules: Modules) -> Result<Vec<Self>> {
        let mut labels = Vec::new();
        let profile = process.apparmor_profile().as_deref().unwrap_or_default();
        // Where there is no AppArmor everything is unconfined.
        if !(profile.is_empty() || profile == "unconfined" && !modules.apparmor) {
            require(
                "process.apparmorProfile",
                profile,
                "AppArmor",
                modules.apparmor,
            )?;
            labels.push(Self::AppArmor(profile.to_owned()));
        }
        let context = process.selinux_label().as_deref().unwrap_or_default();
        if !context.is_empty() {
            require("process.selinuxLabel", context, "SELinux", modules.selinux)?;
            labels.push(Self::SeLinux(context.to_owned()));
        }
        Ok(labels)
    }

    /// Gives it to this process. Through our own procfs: what the container mounted at /proc could take the
    /// label and forget it (CVE-2019-16884, CVE-2025-52881). What the kernel made of it is read back.
    pub(crate) fn apply(&self) -> sys::Result<()> {
        if sys::fault::broken("no-labels") {
            return Ok(());
        }
        let (path, value) = match self {
            Self::AppArmor(profile) if own_folder() => {
                ("self/attr/apparmor/exec", format!("exec {profile}"))
            }
            Self::AppArmor(profile) => ("self/attr/exec", format!("exec {profile}")),
            Self::SeLinux(context) => ("self/attr/exec", context.clone()),
        };
        let file = File::from(sys::proc::open(path, OFlags::RDWR)?);
        let fail =
            |call, e: &std::io::Error| SysError::from_io(call, format_args!("/proc/{path}"), e);
        file.write_at(value.as_bytes(), 0)
            .map_err(|e| self.explain(fail("write", &e)))?;
        let mut taken = [0; 4096];
        let length = file.read_at(&mut taken, 0).map_err(|e| fail("read", &e))?;
        match taken[..length]
            .iter()
            .all(|b| b.is_ascii_whitespace() || *b == 0)
        {
            false => Ok(()),
            true => Err(
                SysError::new("write", format_args!("/proc/{path}"), Errno::IO)
                    .with_note("the kernel did not keep it"),
            ),
        }
    }

    fn explain(&self, error: SysError) -> SysError {
        match (self, error.errno) {
            (Self::AppArmor(_), Errno::NOENT) => error.with_note("no such profile is loaded"),
            (Self::SeLinux(_), Errno::INVAL) => {
                error.with_note("no such context is in the loaded policy")
            }
            _ => error,
        }
    }
}

fn require(field: &str, label: &str, module: &str, here: bool) -> Result<()> {
    if here || sys::fault::broken("no-lsm-check") {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{field}: {label:?} is asked for, but {module} is not enabled in this kernel"
    )))
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppArmor(profile) => write!(f, "the AppArmor profile {profile:?}"),
            Self::SeLinux(context) => write!(f, "the SELinux context {context:?}"),
        }
    }
}

/// `linux.mountLabel`, and the mount option that says it.
///
/// # Errors
/// [`Error::Usage`] without SELinux, and for a context type that does not exist.
pub(crate) fn mount_label(spec: &Spec, modules: Modules) -> Result<Option<MountLabel<'_>>> {
    let label = spec
        .linux()
        .as_ref()
        .and_then(|l| l.mount_label().as_deref());
    let Some(label) = label.filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    require("linux.mountLabel", label, "SELinux", modules.selinux)?;
    let option = context_type(spec)?;
    Ok(Some(MountLabel { option, label }))
}

fn context_type(spec: &Spec) -> Result<&'static str> {
    const TYPES: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
    let annotations = spec.annotations().as_ref();
    let Some(word) = annotations.and_then(|a| a.get(CONTEXT_TYPE)) else {
        return Ok(TYPES[0]);
    };
    let known = TYPES.into_iter().find(|name| name == word);
    known.ok_or_else(|| {
        let list = TYPES.join(", ");
        Error::Usage(format!(
            "annotations.{CONTEXT_TYPE}: {word:?} is none of {list}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Modules = Modules {
        apparmor: false,
        selinux: false,
    };
    const BOTH: Modules = Modules {
        apparmor: true,
        selinux: true,
    };

    fn labels(profile: &str, context: &str, modules: Modules) -> Result<Vec<Label>, String> {
        let process: Process = serde_json::from_value(serde_json::json!({
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"],
            "apparmorProfile": profile, "selinuxLabel": context,
        }))
        .unwrap();
        Label::of_process(&process, modules).map_err(|e| e.to_string())
    }

    #[test]
    fn a_label_that_no_module_enforces_is_refused() {
        assert_eq!(
            labels("dhow", "", NONE).unwrap_err(),
            "process.apparmorProfile: \"dhow\" is asked for, but AppArmor is not enabled in this kernel"
        );
        assert_eq!(
            labels("", "a:b:c:s0", NONE).unwrap_err(),
            "process.selinuxLabel: \"a:b:c:s0\" is asked for, but SELinux is not enabled in this kernel"
        );
    }

    #[test]
    fn who_asks_for_nothing_gets_nothing() {
        assert_eq!(labels("", "", BOTH), Ok(vec![]));
        assert_eq!(labels("unconfined", "", NONE), Ok(vec![]));
        let unconfined = vec![Label::AppArmor("unconfined".to_owned())];
        assert_eq!(labels("unconfined", "", BOTH), Ok(unconfined));
    }

    fn option(annotations: serde_json::Value, modules: Modules) -> Result<String, String> {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "annotations": annotations, "linux": {"mountLabel": "a:b:c:s0:c1,c2"},
        }))
        .unwrap();
        match mount_label(&spec, modules) {
            Ok(label) => Ok(label.unwrap().option.to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn an_annotation_chooses_the_mount_option_of_the_label_among_those_that_there_are() {
        let none = serde_json::json!({});
        assert_eq!(option(none.clone(), BOTH), Ok("context".to_owned()));
        let chosen = serde_json::json!({CONTEXT_TYPE: "rootcontext"});
        assert_eq!(option(chosen, BOTH), Ok("rootcontext".to_owned()));
        assert!(option(serde_json::json!({CONTEXT_TYPE: "nope"}), BOTH).is_err());
        assert!(option(none, NONE).is_err());
    }
}
