//! How a container's first process gets into its namespaces: by one clone, or by way of a middle process.
//! Pure. Not its job: doing it (join, and the runtime's parent and stage).

use sys::process::NamespaceFlags;

use crate::{Join, Namespace, NamespaceSet};

/// Which rights the caller has over the namespaces that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// CAP_SYS_ADMIN in its own user namespace.
    Full,
    /// None: what it may do begins with a new user namespace, or with one of its own that is joined.
    Few,
}

/// One clone or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The caller clones the container's first process itself.
    Direct(Start),
    /// The caller clones a middle process, which clones the first one.
    Staged(Stage),
}

/// The clone that makes the container's first process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// What the cloning process enters for its next child and leaves again ([`crate::join::SteppedIn`]).
    pub step_in: Vec<Join>,
    /// Whether the cloning process makes the time namespace and sets its clocks, for its next child.
    pub set_clocks: bool,
    /// The new namespaces of the clone.
    pub clone: NamespaceFlags,
    /// What the child enters, first of all.
    pub join: Vec<Join>,
    /// What the child makes by unshare(2), once it has entered all and is in its cgroup.
    pub unshare: NamespaceFlags,
    /// What the cloning process makes while the child is at work already, and hands to it ([`crate::network`]).
    pub beside: NamespaceFlags,
}

/// A middle process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whether it is cloned into a new user namespace, with the id maps of the set.
    pub new_user: bool,
    /// What it enters.
    pub join: Vec<Join>,
    /// How it then clones the first process, as its own sibling.
    pub then: Start,
}

/// What only a fork brings about: a process never changes its own PID namespace, and clocks are set from
/// outside of the time namespace.
const BY_FORK: NamespaceFlags = Namespace::Pid.flag() | Namespace::Time.flag();

impl Shape {
    /// The shape for `set` and a caller with `rights`.
    pub fn of(set: &NamespaceSet, rights: Rights) -> Self {
        if set.joins(Namespace::User).is_some() {
            return joined_user(set, rights);
        }
        if set.creates(Namespace::User) {
            return new_user(set, rights);
        }
        let (step_in, join) = split(set, |kind| kind == Namespace::Pid);
        let mut start = making(set);
        if rights == Rights::Full {
            // The kernel takes as long for a network namespace as for all the mounts of a container. It belongs to
            // our user namespace, as the container's own would: no matter who makes it.
            start.beside = start.clone & Namespace::Network.flag();
            start.clone &= !start.beside;
        }
        Self::Direct(Start {
            step_in,
            join,
            ..start
        })
    }
}

impl Shape {
    /// The same; nothing is made beside by a caller who may not come back from it: root of a user namespace whose
    /// network namespace belongs to an outer one (rootless podman).
    #[must_use]
    pub fn of_caller(mut self, may_return: bool) -> Self {
        if let Self::Direct(start) = &mut self
            && !may_return
        {
            start.clone |= std::mem::take(&mut start.beside);
        }
        self
    }
}

/// A user namespace is entered. What is new must belong to it, so it is made after entering: by the child
/// itself, unless a fork is needed.
fn joined_user(set: &NamespaceSet, rights: Rights) -> Shape {
    let enters_pid = set.joins(Namespace::Pid).is_some();
    if set.create & BY_FORK != 0 || (enters_pid && rights == Rights::Few) {
        return Shape::Staged(Stage {
            new_user: false,
            join: set.join.clone(),
            then: making(set),
        });
    }
    let (step_in, join) = split(set, |kind| kind == Namespace::Pid);
    Shape::Direct(Start {
        step_in,
        join,
        unshare: set.create,
        ..Start::default()
    })
}

/// A user namespace is made. Its first process has no rights over what belongs to an outer one, so whoever
/// has them enters the others before the clone.
fn new_user(set: &NamespaceSet, rights: Rights) -> Shape {
    match rights {
        // Stepping into a mount namespace and back would lose our root and working directory.
        Rights::Full if set.joins(Namespace::Mount).is_some() => Shape::Staged(Stage {
            new_user: false,
            join: set.join.clone(),
            then: making(set),
        }),
        Rights::Full => Shape::Direct(Start {
            step_in: set.join.clone(),
            ..making(set)
        }),
        Rights::Few if set.join.is_empty() && set.time_offsets.is_empty() => {
            Shape::Direct(making(set))
        }
        // The rights to set clocks or to enter anything come with the new user namespace.
        Rights::Few => {
            let mut then = making(set);
            then.clone &= !Namespace::User.flag();
            Shape::Staged(Stage {
                new_user: true,
                join: set.join.clone(),
                then,
            })
        }
    }
}

/// How the new namespaces are made by a clone.
fn making(set: &NamespaceSet) -> Start {
    let mut clone = set.create;
    // A clone with both CLONE_NEWCGROUP and CLONE_INTO_CGROUP roots the cgroup namespace at the parent's
    // cgroup, through which the container would see the host's tree: the child makes it when it is inside.
    let unshare = clone & Namespace::Cgroup.flag();
    clone &= !unshare;
    // clone3 puts the child right into a new time namespace, and then its clocks are fixed.
    let set_clocks = !set.time_offsets.is_empty() && set.creates(Namespace::Time);
    if set_clocks {
        clone &= !Namespace::Time.flag();
    }
    Start {
        set_clocks,
        clone,
        unshare,
        ..Start::default()
    }
}

fn split(set: &NamespaceSet, first: impl Fn(Namespace) -> bool) -> (Vec<Join>, Vec<Join>) {
    set.join
        .iter()
        .cloned()
        .partition(|join| first(join.namespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeOffsets;

    /// A set from words: `+pid` creates, `pid` joins, `clocks` sets the clocks.
    fn set(words: &str) -> NamespaceSet {
        let mut set = NamespaceSet::default();
        for word in words.split_whitespace() {
            let kind = |name: &str| {
                Namespace::ALL
                    .into_iter()
                    .find(|kind| kind.name() == name)
                    .unwrap()
            };
            if word == "clocks" {
                let clocks = crate::set::tests::from_json(r#"{"boottime":{"secs":1}}"#);
                set.time_offsets = TimeOffsets::read(&clocks, &mut Vec::new());
            } else if let Some(name) = word.strip_prefix('+') {
                set.create |= kind(name).flag();
            } else {
                set.join.push(Join {
                    namespace: kind(word),
                    path: format!("/ns/{word}").into(),
                    field: String::new(),
                });
            }
        }
        set
    }

    fn names(joins: &[Join]) -> String {
        let names: Vec<_> = joins.iter().map(|join| join.namespace.name()).collect();
        names.join(", ")
    }

    fn start(start: &Start) -> String {
        let mut words = Vec::new();
        let mut say = |verb: &str, what: String| {
            if !what.is_empty() {
                words.push(format!("{verb} {what}"));
            }
        };
        say("step into", names(&start.step_in));
        say(
            "set",
            if start.set_clocks { "clocks" } else { "" }.to_owned(),
        );
        say("clone", Namespace::list(start.clone));
        say("child joins", names(&start.join));
        say("child unshares", Namespace::list(start.unshare));
        say("make beside", Namespace::list(start.beside));
        words.join("; ")
    }

    fn words(shape: &Shape) -> String {
        match shape {
            Shape::Direct(s) => start(s),
            Shape::Staged(stage) => format!(
                "stage{}{}: {}",
                if stage.new_user {
                    " in a new user namespace"
                } else {
                    ""
                },
                match names(&stage.join).as_str() {
                    "" => String::new(),
                    names => format!(" joins {names}"),
                },
                start(&stage.then)
            ),
        }
    }

    /// rights | set (`+` creates, else joined) | shape
    const SHAPES: &str = "
        full | +pid +mount +network +uts +ipc +cgroup | clone ipc, uts, pid, mount; child unshares cgroup; make beside network
        full | +user +pid +mount +cgroup | clone user, pid, mount; child unshares cgroup
        few | +user +pid +mount +cgroup | clone user, pid, mount; child unshares cgroup
        full | +time +pid | clone pid, time
        full | +time +pid clocks | set clocks; clone pid
        full | +user +time +pid clocks | set clocks; clone user, pid
        full | pid network +mount | step into pid; clone mount; child joins network
        full | +user network +pid +mount | step into network; clone user, pid, mount
        full | +user mount +pid | stage joins mount: clone user, pid
        full | user network +mount +cgroup | child joins user, network; child unshares cgroup, mount
        full | user pid +mount | step into pid; child joins user; child unshares mount
        full | user network +pid +mount +cgroup | stage joins user, network: clone pid, mount; child unshares cgroup
        few | user pid +mount | stage joins user, pid: clone mount
        few | +user +time +pid clocks | stage in a new user namespace: set clocks; clone pid
        few | +user network +pid | stage in a new user namespace joins network: clone pid
        full | |";

    #[test]
    fn every_kind_of_set_has_its_shape() {
        for line in SHAPES.lines().skip(1) {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let rights = match cells[0] {
                "full" => Rights::Full,
                _ => Rights::Few,
            };
            let shape = Shape::of(&set(cells[1]), rights);
            assert_eq!(words(&shape), cells[2], "{line}");
        }
    }

    #[test]
    fn who_cannot_come_back_leaves_the_network_to_the_clone() {
        let shape = Shape::of(&set("+network +pid"), Rights::Full);
        assert_eq!(words(&shape), "clone pid; make beside network");
        assert_eq!(words(&shape.of_caller(false)), "clone network, pid");
    }

    #[test]
    fn every_namespace_is_entered_or_made_exactly_once() {
        let kinds = Namespace::ALL.len();
        for rights in [Rights::Full, Rights::Few] {
            // Every kind absent, new or joined: 3^8 sets.
            for number in 0..3_usize.pow(kinds as u32) {
                let mut set = NamespaceSet::default();
                for (i, kind) in Namespace::ALL.into_iter().enumerate() {
                    match number / 3_usize.pow(i as u32) % 3 {
                        1 => set.create |= kind.flag(),
                        2 => set.join.push(Join {
                            namespace: kind,
                            path: "/n".into(),
                            field: String::new(),
                        }),
                        _ => {}
                    }
                }
                let (stage, start) = match Shape::of(&set, rights) {
                    Shape::Direct(start) => (Vec::new(), start),
                    Shape::Staged(stage) => {
                        let mut then = stage.then;
                        assert!(then.join.is_empty() && then.step_in.is_empty());
                        if stage.new_user {
                            then.clone |= Namespace::User.flag();
                        }
                        (stage.join, then)
                    }
                };
                assert_eq!(start.clone & start.unshare, 0);
                assert_eq!((start.clone | start.unshare) & start.beside, 0);
                assert_eq!(start.clone | start.unshare | start.beside, set.create);
                let entered = stage.len() + start.step_in.len() + start.join.len();
                assert_eq!(entered, set.join.len());
            }
        }
    }
}
