//! Claims about real namespaces: entered, left again, mapped, set up. Whole containers are claimed by the
//! workspace's `integration`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at /proc by path, as an onlooker does"
)]

/// The crate under the name that the other crates know it by.
extern crate dhow_namespaces as namespaces;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use libtest_mimic::{Arguments, Trial};
use namespaces::join::{self, Opened, SteppedIn};
use namespaces::{Join, Namespace, NamespaceSet};
use sys::process::{CloneRequest, Cloned, Process};

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        const CLAIMS: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

claims![
    the_next_child_is_in_the_pid_namespace_and_later_ones_are_not,
    the_next_child_has_the_clocks_that_were_set,
    clocks_that_would_pass_their_end_are_refused_and_we_are_back,
    a_user_namespace_has_the_ids_that_were_written,
    a_user_maps_its_own_ids_and_loses_setgroups,
    more_ids_than_its_own_are_the_programs_to_grant,
    what_belongs_to_a_user_namespace_is_entered_through_it,
    loopback_is_up_in_a_new_network_namespace,
    names_are_set_in_a_new_uts_namespace_only,
];

/// Set in the process that runs a part of a claim as an ordinary user.
const AS_USER: &str = "DHOW_TEST_AS_USER";

fn main() -> std::process::ExitCode {
    if let Some(json) = std::env::var_os(AS_USER) {
        print!("{}", mapped(json.to_str().unwrap()));
        return std::process::ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // A clone wants one thread, and so does a step into another time namespace.
    arguments.test_threads = Some(1);
    let root = sys::privileges::is_root();
    let trials = CLAIMS.iter().map(|&(name, claim)| {
        Trial::test(name, move || {
            claim();
            Ok(())
        })
        .with_kind(if root { "" } else { "needs root" })
        .with_ignored_flag(!root)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A child in new namespaces that runs `code` when its pipe closes or says something, and tells its words.
struct Child {
    process: Process,
    go: std::io::PipeWriter,
    words: std::io::PipeReader,
}

impl Child {
    fn new(kinds: &[Namespace], code: impl FnOnce() -> String) -> Self {
        let (mut wait, go) = std::io::pipe().unwrap();
        let (words, mut say) = std::io::pipe().unwrap();
        let request = CloneRequest {
            namespaces: kinds.iter().map(|kind| kind.flag()).sum(),
            ..CloneRequest::default()
        };
        match sys::process::clone(&request).unwrap() {
            Cloned::Child => {
                drop((go, words));
                wait.read_exact(&mut [0]).unwrap();
                let said = say.write_all(code().as_bytes());
                sys::process::exit(i32::from(said.is_err()));
            }
            Cloned::Parent(process) => Self { process, go, words },
        }
    }

    fn finish(mut self) -> String {
        self.go.write_all(b"!").unwrap();
        drop(self.go);
        let mut words = String::new();
        self.words.read_to_string(&mut words).unwrap();
        let exit = sys::process::wait(&self.process.pidfd).unwrap();
        assert_eq!(exit.code(), 0, "the child failed");
        words
    }

    /// One of its namespaces, by path.
    fn namespace(&self, kind: Namespace) -> Join {
        let pid = self.process.pid.as_raw_nonzero();
        Join {
            namespace: kind,
            path: format!("/proc/{pid}/ns/{}", kind.proc_name()).into(),
            field: "linux.namespaces[0].path".to_owned(),
        }
    }
}

fn open(joins: &[Join]) -> Vec<Opened> {
    join::open_all(joins).unwrap()
}

/// Which namespace of a kind this process is in.
fn identity(kind: Namespace) -> u64 {
    fs::metadata(format!("/proc/self/ns/{}", kind.proc_name()))
        .unwrap()
        .ino()
}

fn set(json: &str) -> NamespaceSet {
    let spec = format!(r#"{{"ociVersion":"1.2.0","linux":{{{json}}}}}"#);
    NamespaceSet::from_spec(&serde_json::from_str(&spec).unwrap()).unwrap()
}

fn the_next_child_is_in_the_pid_namespace_and_later_ones_are_not() {
    let first = Child::new(&[Namespace::Pid], String::new);
    let opened = open(&[first.namespace(Namespace::Pid)]);
    let pid = || std::process::id().to_string();
    let stepped = SteppedIn::enter(&opened, None).unwrap();
    let inside = Child::new(&[], pid);
    stepped.back().unwrap();
    let outside = Child::new(&[], pid);
    assert_eq!(inside.finish(), "2", "the second process of that namespace");
    let expected = outside.process.pid.as_raw_nonzero().to_string();
    assert_eq!(outside.finish(), expected);
    first.finish();
}

fn the_next_child_has_the_clocks_that_were_set() {
    let set =
        set(r#""namespaces":[{"type":"time"}],"timeOffsets":{"boottime":{"secs":1000000000}}"#);
    // Our own clock is read before and after: the child's lies between, plus the offset.
    let uptime = || fs::read_to_string("/proc/uptime").unwrap();
    let seconds = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let ours = identity(Namespace::Time);
    let before = seconds(&uptime());
    let stepped = SteppedIn::enter(&[], Some(&set.time_offsets)).unwrap();
    let child = Child::new(&[], uptime);
    stepped.back().unwrap();
    let inside = seconds(&child.finish());
    let after = seconds(&uptime());
    assert!(
        (before..=after).contains(&(inside - 1_000_000_000)),
        "{inside}"
    );
    let next = fs::metadata("/proc/self/ns/time_for_children")
        .unwrap()
        .ino();
    assert_eq!((identity(Namespace::Time), next), (ours, ours));
}

fn clocks_that_would_pass_their_end_are_refused_and_we_are_back() {
    let set =
        set(r#""namespaces":[{"type":"time"}],"timeOffsets":{"boottime":{"secs":-1000000000}}"#);
    let ours = identity(Namespace::Time);
    let error = SteppedIn::enter(&[], Some(&set.time_offsets)).unwrap_err();
    assert_eq!(error.to_string(), "set the offsets of linux.timeOffsets");
    let next = fs::metadata("/proc/self/ns/time_for_children")
        .unwrap()
        .ino();
    assert_eq!(next, ours);
}

fn a_user_namespace_has_the_ids_that_were_written() {
    let set = set(r#""namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":0,"size":1},{"containerID":1,"hostID":100000,"size":10}],
        "gidMappings":[{"containerID":7,"hostID":0,"size":1}]"#);
    let child = Child::new(&[Namespace::User], || {
        let words = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        let (uid, gid) = sys::privileges::ids();
        format!("{uid} {gid} {} {}", words("uid_map"), words("setgroups"))
    });
    set.id_maps.unwrap().write(child.process.pid).unwrap();
    let words: Vec<_> = child
        .finish()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(words.join(" "), "0 7 0 0 1 1 100000 10 allow");
}

/// What a child in a new user namespace with these ids sees, or why there is none.
fn mapped(json: &str) -> String {
    let child = Child::new(&[Namespace::User], || {
        let words = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        format!(
            "{} {} {}",
            words("uid_map"),
            words("gid_map"),
            words("setgroups")
        )
    });
    let written = set(json).id_maps.unwrap().write(child.process.pid);
    let words = child.finish();
    match written {
        Ok(()) => words.split_whitespace().collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

/// The same for user and group 4242, who have no rights: in a program of their own, as the kernel
/// hides the files of a process that has changed its user.
fn mapped_by_a_user(json: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let program = dir.path().join("enter");
    fs::copy("/proc/self/exe", &program).unwrap();
    let output = std::process::Command::new(&program)
        .env(AS_USER, json)
        .current_dir("/")
        .gid(4242)
        .uid(4242)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn a_user_maps_its_own_ids_and_loses_setgroups() {
    let words = mapped_by_a_user(
        r#""namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":4242,"size":1}],
        "gidMappings":[{"containerID":0,"hostID":4242,"size":1}]"#,
    );
    // CVE-2014-8989: without "deny" a user could drop the groups that a file's mode holds against it.
    assert_eq!(words, "0 4242 1 0 4242 1 deny");
}

fn more_ids_than_its_own_are_the_programs_to_grant() {
    let words = mapped_by_a_user(
        r#""namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":4242,"size":1},{"containerID":1,"hostID":100000,"size":5}],
        "gidMappings":[{"containerID":0,"hostID":4242,"size":1},{"containerID":1,"hostID":100000,"size":5}]"#,
    );
    // The program is asked, if it is here; nobody has granted 4242 any ids.
    let refused = "/usr/bin/newgidmap refused linux.gidMappings (0:4242:1, 1:100000:5): ";
    let missing = "start /usr/bin/newgidmap to write linux.gidMappings";
    assert!(words.starts_with(refused) || words == missing, "{words}");
}

fn what_belongs_to_a_user_namespace_is_entered_through_it() {
    let owner = Child::new(
        &[Namespace::User, Namespace::Uts, Namespace::Mount],
        String::new,
    );
    let ids = set(r#""namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":0,"size":1}],
        "gidMappings":[{"containerID":0,"hostID":0,"size":1}]"#);
    ids.id_maps.unwrap().write(owner.process.pid).unwrap();
    let kinds = [Namespace::User, Namespace::Mount, Namespace::Uts];
    let joins = kinds.map(|kind| owner.namespace(kind));
    let expected: Vec<_> = joins
        .iter()
        .map(|join| fs::metadata(&join.path).unwrap().ino())
        .collect();
    let opened = open(&joins);
    let child = Child::new(&[], move || {
        join::enter(&opened).unwrap();
        format!("{:?}", kinds.map(identity))
    });
    assert_eq!(child.finish(), format!("{expected:?}"));
    owner.finish();
}

fn loopback_is_up_in_a_new_network_namespace() {
    let child = Child::new(&[Namespace::Network], || {
        let bind = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let reaches = || {
            let (a, b) = (bind(), bind());
            a.send_to(b"x", b.local_addr().unwrap()).is_ok()
        };
        let before = reaches();
        namespaces::network::loopback_up().unwrap();
        // Once more: what is up stays up.
        namespaces::network::loopback_up().unwrap();
        format!("{before} {}", reaches())
    });
    assert_eq!(child.finish(), "false true");
}

fn names_are_set_in_a_new_uts_namespace_only() {
    let names = || {
        let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
        format!("{}{}", read("hostname"), read("domainname"))
    };
    let ours = names();
    let child = Child::new(&[Namespace::Uts], move || {
        namespaces::uts::set_host_name("box").unwrap();
        namespaces::uts::set_domain_name("example.org").unwrap();
        names()
    });
    assert_eq!(child.finish(), "box\nexample.org\n");
    assert_eq!(names(), ours);
}
