//! The network of RUN: out by the host's address, never to the host itself, and nothing of it left behind. Host
//! and outside world are network namespaces of the claims' own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sys::netlink::{Body, Channel, Family, Message, NLM_F_DUMP};

use super::Site;
use crate::support::command::wait_for;
use crate::support::{Output, claims, run};

claims![
    a_command_reaches_others_by_the_hosts_addresses: [Root, Cgroup2, Overlay, Translation, Tool("ip"), Dhow],
    f13_a_command_reaches_nothing_of_the_host: [Root, Cgroup2, Overlay, Translation, Tool("ip"), Dhow],
    f13_cve_2024_29018_a_command_without_a_network_has_no_name_server: [Root, Cgroup2, Overlay, Dhow],
    a_host_that_is_no_router_is_none_afterwards: [Root, Cgroup2, Overlay, Translation, Tool("ip"), Dhow],
    builds_at_once_share_no_address: [Root, Cgroup2, Overlay, Translation, Tool("ip"), Dhow],
    the_network_of_a_killed_build_is_taken_away_by_the_next: [Root, Cgroup2, Overlay, Translation, Tool("ip"), Dhow],
    a_kernel_without_packet_rules_is_told_with_what_does_without: [Root, Cgroup2, Overlay, Translation, Tool("ip"), FaultBuild],
];

const NEW_NETWORK: u64 = 0x4000_0000;

/// A network namespace that goes with this value.
pub(super) struct Land(OwnedFd);

impl Land {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            sys::namespace::unshare(NEW_NETWORK).unwrap();
            std::fs::File::open("/proc/thread-self/ns/net").unwrap()
        });
        let land = Self(made.join().unwrap().into());
        land.ip("link set lo up");
        land
    }

    /// Does `act` in it: sockets stay of it, programs are started in it.
    pub(super) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                sys::namespace::enter(self.0.as_fd(), NEW_NETWORK).unwrap();
                act()
            });
            there
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, words: &str) {
        self.within(|| run(Command::new("ip").args(words.split(' '))).success());
    }

    fn listen(&self, address: &str) -> TcpListener {
        self.within(|| TcpListener::bind(address).unwrap())
    }

    /// Our devices in it, and how many tables of packet rules there are.
    fn left(&self) -> (Vec<String>, usize) {
        self.within(|| {
            let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let names = devices.lines().filter_map(|line| line.split(':').next());
            let ours = names.map(str::trim).filter(|name| name.starts_with("dhow"));
            (ours.map(str::to_owned).collect(), tables())
        })
    }
}

/// How many tables of packet rules this namespace has.
fn tables() -> usize {
    const NFT_MSG_GETTABLE: u16 = 10 << 8 | 1;
    let message = Message {
        call: "NFT_MSG_GETTABLE",
        subject: String::new(),
        kind: NFT_MSG_GETTABLE,
        flags: NLM_F_DUMP,
        body: Body::new(&[0; 4]),
    };
    let mut count = 0;
    let rules = Channel::open(Family::Netfilter).unwrap();
    rules.ask(&message, |_, _| count += 1).unwrap();
    count
}

/// A machine, and a world that it has one way to.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) host: Land,
    pub(super) outside: Land,
}

pub(super) const HOST: &str = "198.51.100.1";
pub(super) const OUTSIDE: &str = "198.51.100.2:8000";
const HOST_BY_SIX: &str = "2001:db8::1";
const OUTSIDE_BY_SIX: &str = "[2001:db8::2]:8000";

impl World {
    pub(super) fn new() -> Self {
        let (host, outside) = (Land::new(), Land::new());
        let pid = std::process::id();
        let to = format!(
            "/proc/{pid}/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&outside.0)
        );
        host.ip(&format!("link add up0 type veth peer name out0 netns {to}"));
        for (land, device, end) in [(&host, "up0", 1), (&outside, "out0", 2)] {
            land.ip(&format!("addr add 198.51.100.{end}/24 dev {device}"));
            land.ip(&format!("addr add 2001:db8::{end}/64 dev {device} nodad"));
            land.ip(&format!("link set {device} up"));
        }
        host.ip("route add default via 198.51.100.2");
        host.ip("route add default via 2001:db8::2");
        let world = Self {
            site: Site::new(),
            host,
            outside,
        };
        world.set("ipv4/conf/all", true);
        world.set("ipv6/conf/all", true);
        world
    }

    /// Whether the host passes on packets, for all or for a device.
    fn set(&self, of: &str, on: bool) {
        let value = if on { "1" } else { "0" };
        let path = format!("/proc/sys/net/{of}/forwarding");
        self.host.within(|| std::fs::write(path, value).unwrap());
    }

    /// Builds a recipe upon `base` in the host's network.
    fn build(&self, name: &str, run_step: &str) -> Output {
        self.site
            .context(name, &format!("FROM base\nRUN {run_step}\n"));
        self.host.within(|| {
            self.site
                .build(&["--network=default", "--no-cache", "-t", name, name])
        })
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(self.host.left(), (Vec::new(), 0));
    }
}

/// A server that tells those who connect who they are, until it is dropped.
pub(super) struct Server {
    address: String,
    ends: std::sync::Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(land: &Land, address: &str) -> Self {
        let listener = land.listen(address);
        let ends = std::sync::Arc::new(AtomicBool::new(false));
        let seen = ends.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(peer) = stream.peer_addr() {
                    let _gone = writeln!(stream, "you are {}", peer.ip());
                }
            }
        });
        Self {
            address: address.to_owned(),
            ends,
        }
    }

    pub(super) fn end(self, land: &Land) {
        self.ends.store(true, Ordering::SeqCst);
        let address = &self.address;
        land.within(|| TcpStream::connect(address).map(drop).unwrap());
    }
}

fn a_command_reaches_others_by_the_hosts_addresses() {
    let world = World::new();
    let by_four = Server::start(&world.outside, OUTSIDE);
    let by_six = Server::start(&world.outside, OUTSIDE_BY_SIX);
    let output = world
        .build("out", "nc 198.51.100.2 8000; nc 2001:db8::2 8000")
        .success();
    by_four.end(&world.outside);
    by_six.end(&world.outside);
    for address in [HOST, HOST_BY_SIX] {
        let told = format!("you are {address}\n");
        assert!(output.stderr.contains(&told), "{output:?}");
    }
    world.nothing_is_left();
}

fn f13_a_command_reaches_nothing_of_the_host() {
    let world = World::new();
    let servers = ["0.0.0.0:8000", "[::]:8001", "127.0.0.1:8002"];
    let servers = servers.map(|address| Server::start(&world.host, address));
    // Each ends with an answer of the host's; one that hangs would be a packet that went astray.
    let gateway = "$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')";
    let by_six = "$(ip -6 route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')";
    let script = format!(
        "for a in {gateway} {HOST} 127.0.0.1; do nc -w 1 $a 8000 && echo REA''CHED $a; done; \
         for a in {by_six} {HOST_BY_SIX} ::1; do nc -w 1 $a 8001 && echo REA''CHED $a; done; \
         nc -w 1 {gateway} 8002 && echo REA''CHED loopback; nc -w 1 127.0.0.1 8002 && echo REA''CHED loopback; \
         ip route | grep -q default && echo TRIED {gateway} {by_six}"
    );
    let output = world.build("inward", &script).success();
    assert!(
        output.stderr.contains("TRIED 10.209.208.0 fd4b:"),
        "{output:?}"
    );
    for server in servers {
        server.end(&world.host);
    }
    let answered = ["REACHED ", "you are "].map(|word| output.stderr.matches(word).count());
    assert_eq!(answered, [0, 0], "{output:?}");
    world.nothing_is_left();
}

fn f13_cve_2024_29018_a_command_without_a_network_has_no_name_server() {
    let site = Site::new();
    site.context("alone", "FROM base\nRUN test ! -s /etc/resolv.conf\n");
    site.build(&["--network=none", "-q", "alone"]).success();
}

fn a_host_that_is_no_router_is_none_afterwards() {
    let world = World::new();
    world.set("ipv4/conf/all", false);
    let server = Server::start(&world.outside, OUTSIDE);
    let output = world.build("out", "nc 198.51.100.2 8000").success();
    server.end(&world.outside);
    assert!(
        output.stderr.contains("you are 198.51.100.1\n"),
        "{output:?}"
    );
    let said = "dhow: the host lets IPv4 packets for containers through from up0 while steps run\n";
    assert!(output.stderr.contains(said), "{output:?}");
    let forwarding = world.host.within(|| {
        ["all", "up0"].map(|device| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{device}/forwarding")).unwrap()
        })
    });
    assert_eq!(forwarding, ["0\n", "0\n"]);
    world.nothing_is_left();
}

fn builds_at_once_share_no_address() {
    let world = World::new();
    let builds = 6;
    // All commands are at work at the same time: each waits until the last one is there.
    let server = world.outside.listen(OUTSIDE);
    let mut children: Vec<_> = (0..builds)
        .map(|number| {
            let name = format!("at-once-{number}");
            // Builds that have the same step do it once.
            let step = format!("ip -o -4 addr show eth0 && nc 198.51.100.2 8000 && : {name}");
            world
                .site
                .context(&name, &format!("FROM base\nRUN {step}\n"));
            let mut command = world.site.dhow();
            command.args(["build", "--no-cache", "--network=default", &name]);
            command.stderr(Stdio::piped()).stdout(Stdio::null());
            world.host.within(|| command.spawn().unwrap())
        })
        .collect();
    // One that failed before it came here would keep us waiting for ever.
    server.set_nonblocking(true).unwrap();
    let mut waiting = Vec::new();
    while waiting.len() < builds {
        let failed = children
            .iter_mut()
            .any(|child| child.try_wait().unwrap().is_some());
        if failed {
            break;
        }
        let accepted = wait_for("a command", Duration::from_secs(60), || {
            let gone = children
                .iter_mut()
                .any(|child| child.try_wait().unwrap().is_some());
            match server.accept() {
                Ok((stream, _)) => Some(Some(stream)),
                Err(_) if gone => Some(None),
                Err(_) => None,
            }
        });
        waiting.extend(accepted);
    }
    drop(waiting);
    let mut addresses = std::collections::BTreeSet::new();
    for mut child in children {
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert!(child.wait().unwrap().success(), "{stderr}");
        let shown = stderr
            .split("inet ")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        addresses.insert(shown.expect("an address is shown").to_owned());
    }
    assert_eq!(addresses.len(), builds, "{addresses:?}");
    world.nothing_is_left();
}

fn the_network_of_a_killed_build_is_taken_away_by_the_next() {
    let world = World::new();
    let server = world.outside.listen(OUTSIDE);
    world
        .site
        .context("killed", "FROM base\nRUN nc 198.51.100.2 8000\n");
    let mut command = world.site.dhow();
    command.args(["build", "--no-cache", "--network=default", "killed"]);
    command.stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = world.host.within(|| command.spawn().unwrap());
    // The command is at work: it has connected.
    let (stream, _) = server.accept().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel takes the device away once it has come to it.
    wait_for("the network's end", Duration::from_secs(60), || {
        world.build("next", "true").success();
        (world.host.left() == (Vec::new(), 0)).then_some(())
    });
    drop(stream);
}

fn a_kernel_without_packet_rules_is_told_with_what_does_without() {
    let world = World::new();
    world.site.context("c", "FROM base\nRUN true\n");
    let build = |network: &str| {
        let mut command = world.site.dhow();
        command.args(["build", network, "c"]);
        world
            .host
            .within(|| run(command.env("DHOW_FAULT", "no-packet-rules")))
    };
    let output = build("--network=default").ends_with(1);
    let said = "Dockerfile:2: RUN true: give the command a network (it needs none with --network=none \
                or --network=host): open the packet rules: socket netfilter: protocol not supported\n";
    assert!(output.stderr.ends_with(said), "{output:?}");
    build("--network=none").success();
    world.nothing_is_left();
}
