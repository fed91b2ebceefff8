//! `linux.netDevices`: devices of the host's network that become the container's. Which (pure), and the move.
//! Not its job: networks of the container's own.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::Linux;
use sys::at::{Mode, OFlags};
use sys::netlink::Network;
use sys::{Errno, SysError};

use crate::{Error, Namespace, NamespaceSet, Result};

/// A device, and what the container calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container.
    pub name: String,
}

impl fmt::Display for NetDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if self.name == self.host {
            return Ok(());
        }
        write!(f, " as {}", self.name)
    }
}

impl NetDevice {
    /// The devices of a spec, by name, and all that is wrong with them.
    pub fn read(linux: &Linux, set: &NamespaceSet) -> (Vec<Self>, Vec<Error>) {
        let mut problems = Vec::new();
        let mut list: Vec<Self> = Vec::new();
        for (host, device) in linux.net_devices().iter().flatten() {
            let field = format!("linux.netDevices.{host}");
            let name = device.name().as_deref().filter(|name| !name.is_empty());
            let name = name.unwrap_or(host);
            for bad in [host.as_str(), name].into_iter().filter(|n| !is_name(n)) {
                problems.push(Error::spec(
                    &field,
                    format!("{bad:?} can't be the name of a device"),
                ));
            }
            if list.iter().any(|other| other.name == name) {
                problems.push(Error::spec(
                    &field,
                    format!("{name:?} is the name of two devices"),
                ));
            }
            list.push(Self {
                host: host.clone(),
                name: name.to_owned(),
            });
        }
        if !list.is_empty() && !set.has(Namespace::Network) {
            problems.push(Error::spec(
                "linux.netDevices",
                "devices are given, but linux.namespaces has no network namespace",
            ));
        }
        list.sort_by(|a, b| a.host.cmp(&b.host));
        (list, problems)
    }
}

/// As the kernel's dev_valid_name.
fn is_name(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/:".contains(c);
    !name.is_empty() && name.len() < 16 && name != "." && name != ".." && name.chars().all(plain)
}

/// Moves `devices` from our network to that of the process `pid`, with the addresses that are theirs for
/// good, and brings them up. We are in both for a moment, and back before this returns.
///
/// # Errors
/// [`Error::Device`] for the first that can't be had; [`Error::Return`].
pub fn move_to(devices: &[NetDevice], pid: i32) -> Result<()> {
    let Some(first) = devices.first() else {
        return Ok(());
    };
    let fail = |device: &NetDevice| {
        let device = device.to_string();
        move |source| Error::Device { device, source }
    };
    let outside = Network::here().map_err(fail(first))?;
    let ours = namespace("self").map_err(fail(first))?;
    let theirs = namespace(&pid.to_string()).map_err(fail(first))?;
    let network = Namespace::Network.flag();
    sys::namespace::enter(&theirs, network).map_err(fail(first))?;
    let inside = Network::here();
    sys::namespace::enter(&ours, network).map_err(|source| Error::Return {
        namespace: Namespace::Network,
        source,
    })?;
    let inside = inside.map_err(fail(first))?;
    for device in devices {
        move_one(device, &outside, &inside, &theirs).map_err(fail(device))?;
    }
    Ok(())
}

fn move_one(
    device: &NetDevice,
    outside: &Network,
    inside: &Network,
    to: &OwnedFd,
) -> sys::Result<()> {
    let index = outside.device(&device.host)?.index;
    // By the move they are lost.
    let addresses = outside.addresses(index)?;
    outside.move_device(index, to.as_fd(), &device.name)?;
    // A name may end in %d, for which the kernel puts a number: then it has kept its own in a new network.
    let index = match inside.device(&device.name) {
        Ok(device) => device.index,
        Err(e) if e.errno == Errno::NODEV && device.name.contains("%d") => index,
        Err(e) => return Err(e),
    };
    for address in &addresses {
        match inside.add_address(index, address) {
            Err(e) if e.errno == Errno::EXIST => {}
            added => added?,
        }
    }
    inside.bring_up(index)
}

/// From our own procfs, whose links nobody can have mounted over.
fn namespace(process: &str) -> sys::Result<OwnedFd> {
    let path = format!("{process}/ns/net");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    sys::at::openat(sys::proc::handle()?, path.as_str(), flags, Mode::empty())
        .map_err(|errno| SysError::new("open", format_args!("/proc/{path}"), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, networked: bool) -> (Vec<String>, Vec<String>) {
        let linux: Linux = serde_json::from_str(json).unwrap();
        let set = NamespaceSet {
            create: if networked {
                Namespace::Network.flag()
            } else {
                0
            },
            ..NamespaceSet::default()
        };
        let (devices, problems) = NetDevice::read(&linux, &set);
        let words = |list: &[&dyn fmt::Display]| list.iter().map(ToString::to_string).collect();
        (
            words(
                &devices
                    .iter()
                    .map(|d| d as &dyn fmt::Display)
                    .collect::<Vec<_>>(),
            ),
            words(
                &problems
                    .iter()
                    .map(|d| d as &dyn fmt::Display)
                    .collect::<Vec<_>>(),
            ),
        )
    }

    #[test]
    fn a_device_keeps_its_name_or_gets_another() {
        let (devices, problems) =
            read(r#"{"netDevices":{"eth1":{"name":"ctr0"},"eth0":{}}}"#, true);
        assert_eq!(devices, ["eth0", "eth1 as ctr0"]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn names_that_no_device_can_have_and_a_missing_namespace_are_named() {
        let (_, problems) = read(
            r#"{"netDevices":{"a/b":{},"eth0":{"name":"a name"}}}"#,
            false,
        );
        let mut problems = problems;
        problems.sort();
        assert_eq!(
            problems,
            [
                "linux.netDevices.a/b: \"a/b\" can't be the name of a device",
                "linux.netDevices.a/b: \"a/b\" can't be the name of a device",
                "linux.netDevices.eth0: \"a name\" can't be the name of a device",
                "linux.netDevices: devices are given, but linux.namespaces has no network namespace",
            ]
        );
    }
}
