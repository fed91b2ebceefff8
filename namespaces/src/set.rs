//! Which namespaces a spec asks for: new ones, and existing ones by path. Pure. Not its job: how to get
//! there (shape, join).

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespace, Spec};
use sys::process::NamespaceFlags;

use crate::{Error, IdMap, IdMaps, Namespace, Result, TimeOffsets, uts};

/// What a container gets of its own. A kind that is in neither `create` nor `join` stays the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSet {
    /// The new ones, as CLONE_NEW* bits.
    pub create: NamespaceFlags,
    /// The existing ones, as the spec lists them.
    pub join: Vec<Join>,
    /// The ids of the new user namespace; none if none is made.
    pub id_maps: Option<IdMaps>,
    /// The clocks of the new time namespace.
    pub time_offsets: TimeOffsets,
}

/// An existing namespace to be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its kind.
    pub namespace: Namespace,
    /// A file that stands for it: /proc/PID/ns/net, or a bind mount of that.
    pub path: PathBuf,
    /// The JSON path of `path`.
    pub field: String,
}

impl NamespaceSet {
    /// What `spec` asks for.
    ///
    /// # Errors
    /// The first of [`NamespaceSet::problems`].
    pub fn from_spec(spec: &Spec) -> Result<Self> {
        let mut problems = Vec::new();
        let set = Self::read(spec, &mut problems);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(set),
        }
    }

    /// What `spec` asks for as far as that can be told: to judge the rest of a spec that has problems.
    pub fn as_far_as_it_goes(spec: &Spec) -> Self {
        Self::read(spec, &mut Vec::new())
    }

    /// Everything in `spec` about namespaces that does not hold together.
    pub fn problems(spec: &Spec) -> Vec<Error> {
        let mut problems = Vec::new();
        Self::read(spec, &mut problems);
        problems
    }

    /// Whether a new namespace of this kind is made.
    pub fn creates(&self, kind: Namespace) -> bool {
        self.create & kind.flag() != 0
    }

    /// The existing namespace of this kind that is entered.
    pub fn joins(&self, kind: Namespace) -> Option<&Join> {
        self.join.iter().find(|join| join.namespace == kind)
    }

    /// Whether the container has another namespace of this kind than ours.
    pub fn has(&self, kind: Namespace) -> bool {
        self.creates(kind) || self.joins(kind).is_some()
    }

    fn read(spec: &Spec, problems: &mut Vec<Error>) -> Self {
        let mut set = Self::default();
        let Some(linux) = spec.linux() else {
            set.check_names(spec, problems);
            return set;
        };
        for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
            set.add(i, namespace, problems);
        }
        set.read_ids(linux, problems);
        set.read_clocks(linux, problems);
        set.check_names(spec, problems);
        set
    }

    fn add(&mut self, i: usize, namespace: &LinuxNamespace, problems: &mut Vec<Error>) {
        let kind = Namespace::from(namespace.typ());
        if self.has(kind) {
            problems.push(Error::spec(
                format!("linux.namespaces[{i}].type"),
                format!("\"{kind}\" is listed twice"),
            ));
            return;
        }
        let path = namespace.path().as_deref();
        match path.filter(|path| !path.as_os_str().is_empty()) {
            None => self.create |= kind.flag(),
            Some(path) => {
                let field = format!("linux.namespaces[{i}].path");
                if !path.is_absolute() {
                    problems.push(Error::spec(&field, not_absolute(path)));
                }
                self.join.push(Join {
                    namespace: kind,
                    path: path.to_owned(),
                    field,
                });
            }
        }
    }

    fn read_ids(&mut self, linux: &Linux, problems: &mut Vec<Error>) {
        let maps = [
            ("linux.uidMappings", linux.uid_mappings()),
            ("linux.gidMappings", linux.gid_mappings()),
        ];
        let has_user = self.has(Namespace::User);
        let makes_user = self.creates(Namespace::User);
        let [uid, gid] = maps.map(|(field, mappings)| {
            let mappings = mappings.as_deref().unwrap_or_default();
            match (mappings.is_empty(), has_user) {
                (true, _) if makes_user => problems.push(Error::spec(
                    field,
                    "no ids are mapped, but a new user namespace is asked for",
                )),
                (false, false) => problems.push(Error::spec(
                    field,
                    "ids are mapped, but linux.namespaces has no user namespace",
                )),
                _ => {}
            }
            IdMap::read(field, mappings, problems)
        });
        // The ids of a namespace that is joined are fixed already; callers (containerd for pods) repeat
        // them in the spec, so they are read but not used.
        self.id_maps = makes_user.then_some(IdMaps { uid, gid });
    }

    fn read_clocks(&mut self, linux: &Linux, problems: &mut Vec<Error>) {
        let Some(offsets) = linux.time_offsets().as_ref().filter(|o| !o.is_empty()) else {
            return;
        };
        let field = "linux.timeOffsets";
        if self.joins(Namespace::Time).is_some() {
            problems.push(Error::spec(
                field,
                "the clocks of a time namespace that is joined by path can't be set",
            ));
        } else if !self.creates(Namespace::Time) {
            problems.push(Error::spec(
                field,
                "clocks are set, but linux.namespaces has no time namespace",
            ));
        }
        self.time_offsets = TimeOffsets::read(offsets, problems);
    }

    fn check_names(&self, spec: &Spec, problems: &mut Vec<Error>) {
        let names = [
            ("hostname", spec.hostname()),
            ("domainname", spec.domainname()),
        ];
        for (field, name) in names {
            let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            if let Some(problem) = uts::problem(name) {
                problems.push(Error::spec(field, problem));
            }
            if !self.has(Namespace::Uts) {
                // It would rename the host.
                problems.push(Error::spec(
                    field,
                    format!("{name:?} can't be set, as linux.namespaces has no uts namespace"),
                ));
            }
        }
    }
}

fn not_absolute(path: &Path) -> String {
    format!("{:?} is not an absolute path", path.display().to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A value from its JSON.
    pub(crate) fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    /// A spec with this `linux` section and these members beside it.
    pub(crate) fn spec(linux: &str, beside: &str) -> Spec {
        from_json(&format!(
            r#"{{"ociVersion":"1.2.0","linux":{{{linux}}}{beside}}}"#
        ))
    }

    const IDS: &str = r#""uidMappings":[{"containerID":0,"hostID":1000,"size":1}],
        "gidMappings":[{"containerID":0,"hostID":1000,"size":1}]"#;

    #[test]
    fn a_path_means_join_and_none_means_create() {
        let set = NamespaceSet::from_spec(&spec(
            r#""namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/a"},{"type":"ipc","path":""}]"#,
            "",
        ))
        .unwrap();
        assert_eq!(set.create, Namespace::Pid.flag() | Namespace::Ipc.flag());
        assert_eq!(
            set.join,
            [Join {
                namespace: Namespace::Network,
                path: "/run/netns/a".into(),
                field: "linux.namespaces[1].path".to_owned(),
            }]
        );
        assert!(set.has(Namespace::Network) && !set.has(Namespace::Uts));
    }

    #[test]
    fn what_does_not_hold_together_is_named_by_its_json_path() {
        let table: &[(&str, &str, &str)] = &[
            (
                r#""namespaces":[{"type":"pid"},{"type":"pid","path":"/x"}]"#,
                "",
                "linux.namespaces[1].type: \"pid\" is listed twice",
            ),
            (
                r#""namespaces":[{"type":"uts","path":"a/b"}]"#,
                "",
                "linux.namespaces[0].path: \"a/b\" is not an absolute path",
            ),
            (
                IDS,
                "",
                "linux.uidMappings: ids are mapped, but linux.namespaces has no user namespace",
            ),
            (
                r#""namespaces":[{"type":"user"}]"#,
                "",
                "linux.uidMappings: no ids are mapped, but a new user namespace is asked for",
            ),
            (
                r#""timeOffsets":{"boottime":{"secs":1}}"#,
                "",
                "linux.timeOffsets: clocks are set, but linux.namespaces has no time namespace",
            ),
            (
                r#""namespaces":[{"type":"time","path":"/t"}],"timeOffsets":{"boottime":{"secs":1}}"#,
                "",
                "linux.timeOffsets: the clocks of a time namespace that is joined by path can't be set",
            ),
            (
                "",
                r#","hostname":"box""#,
                "hostname: \"box\" can't be set, as linux.namespaces has no uts namespace",
            ),
            (
                "",
                r#","domainname":"box""#,
                "domainname: \"box\" can't be set, as linux.namespaces has no uts namespace",
            ),
        ];
        for (linux, beside, expected) in table {
            let error = NamespaceSet::from_spec(&spec(linux, beside)).unwrap_err();
            assert_eq!(error.to_string(), *expected);
        }
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let spec = spec(
            r#""namespaces":[{"type":"user"},{"type":"user"}],"timeOffsets":{"x":{}}"#,
            r#","hostname":"h""#,
        );
        assert_eq!(NamespaceSet::problems(&spec).len(), 6);
    }

    #[test]
    fn a_new_user_namespace_brings_its_ids() {
        let linux = format!(r#""namespaces":[{{"type":"user"}}],{IDS}"#);
        let set = NamespaceSet::from_spec(&spec(&linux, "")).unwrap();
        let maps = set.id_maps.unwrap();
        assert_eq!(maps.uid.to_string(), "0 1000 1\n");
    }

    #[test]
    fn ids_given_with_a_joined_user_namespace_are_not_written() {
        let linux = format!(r#""namespaces":[{{"type":"user","path":"/proc/1/ns/user"}}],{IDS}"#);
        let set = NamespaceSet::from_spec(&spec(&linux, "")).unwrap();
        assert_eq!(set.id_maps, None);
    }

    #[test]
    fn a_spec_without_linux_asks_for_nothing() {
        let set = NamespaceSet::from_spec(&from_json(r#"{"ociVersion":"1.2.0"}"#)).unwrap();
        assert_eq!(set, NamespaceSet::default());
    }
}
