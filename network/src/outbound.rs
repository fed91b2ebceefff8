//! A container's way out, as root: a pair of devices, addresses, a route, translation. Carries out what the
//! pure files say, in the order that leaves no gap. Not its job: name servers (resolver).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use sys::Errno;
use sys::at::{Mode, OFlags};
use sys::netlink::{Channel, Family, Message};

use crate::error::{Doing, Error, Result};
use crate::firewall::Firewall;
use crate::link::{self, Link};
use crate::survey::{self, NAMES, Survey};
use crate::{address, forwarding, pool, route};

/// The device's name in the container.
const INSIDE: &str = "eth0";

/// A way out that a container has. It ends with the container, with [`Outbound::end`], or when this is dropped.
#[derive(Debug)]
pub struct Outbound {
    host: Channel,
    index: u32,
    /// Devices of the host from which packets are passed on for us.
    opened: BTreeSet<String>,
    ended: bool,
}

impl Outbound {
    /// Gives one to the network namespace of the process `pid`, a child of ours that was not waited for.
    ///
    /// # Errors
    /// [`Error`], with nothing left; after [`Error::Return`] this process must end.
    pub fn give(pid: i32) -> Result<Self> {
        let host = route_channel()?;
        let theirs = namespace(&pid.to_string())?;
        let survey = Survey::of(&host)?;
        let range = pool::range(&survey.taken())?;
        let (index, number) = make_pair(&host, &theirs, survey.mtu(), survey.free_number(), range)?;
        let mut way = Self {
            host,
            index,
            opened: BTreeSet::new(),
            ended: false,
        };
        // The rules come before the device is up: nothing passes without them.
        for device in survey.ways_out(false) {
            if !forwarding::is_on(&device)? {
                way.opened.insert(device);
            }
        }
        Firewall::open()?.put(&way.opened)?;
        for device in &way.opened {
            forwarding::switch_on(device)?;
        }
        forwarding::switch_on(&name(number))?;
        let mut pairs = vec![pool::ends(range, number)];
        if forwarding::six_is_on() && !survey.ways_out(true).is_empty() {
            pairs.push(pool::ends_of_six(number));
        }
        let inside = channel_in(&theirs)?;
        let end = find(&inside, INSIDE)?;
        carry_out(&way.host, &outside_plan(index, &pairs))?;
        carry_out(&inside, &inside_plan(end.index, &pairs))?;
        Ok(way)
    }

    /// Devices of the host that pass packets on for the time of the step, and did not before.
    pub fn opened(&self) -> impl Iterator<Item = &str> {
        self.opened.iter().map(String::as_str)
    }

    /// Takes it away, and with the last one the packet rules.
    ///
    /// # Errors
    /// As [`clear`].
    pub fn end(mut self) -> Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<()> {
        self.ended = true;
        match self.host.ask(&link::remove(self.index), |_, _| ()) {
            // The container is gone, and its device with it.
            Err(e) if e.errno == Errno::NODEV => {}
            result => result.doing(|| "remove the container's device".to_owned())?,
        }
        clear()
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if !self.ended {
            // What stays is taken by the next build.
            let _reported_elsewhere = self.take_away();
        }
    }
}

/// Removes our packet rules, and forwarding that we have switched on, if no container of ours is left: what
/// killed builds leave behind.
///
/// # Errors
/// [`Error::System`] if the kernel can't be asked; [`Error::Busy`].
pub fn clear() -> Result<()> {
    let host = route_channel()?;
    let is_unused = || Ok(survey::ours(&survey::links(&host)?).next().is_none());
    let firewall = match Firewall::open() {
        // A kernel without packet rules has none of ours.
        Err(Error::System { source, .. }) if source.errno == Errno::PROTONOSUPPORT => return Ok(()),
        opened => opened?,
    };
    match firewall.remove(is_unused) {
        Ok(Some(opened)) => forwarding::switch_off(&opened),
        Ok(None) => Ok(()),
        // Who may not ask has not made any either.
        Err(Error::System { source, .. }) if source.errno == Errno::PERM => Ok(()),
        Err(e) => Err(e),
    }
}

/// What the host's end gets.
fn outside_plan(index: u32, pairs: &[pool::Ends]) -> Vec<Message> {
    let mut plan: Vec<Message> = pairs
        .iter()
        .map(|ends| address::add(index, ends.outside))
        .collect();
    plan.push(link::up(index));
    plan
}

/// What the container's end gets. A route needs a device that is up.
fn inside_plan(index: u32, pairs: &[pool::Ends]) -> Vec<Message> {
    let mut plan: Vec<Message> = pairs
        .iter()
        .map(|ends| address::add(index, ends.inside))
        .collect();
    plan.push(link::up(index));
    let routes = pairs.iter();
    plan.extend(routes.map(|ends| route::default_by(index, ends.outside.address)));
    plan
}

fn carry_out(channel: &Channel, plan: &[Message]) -> Result<()> {
    for message in plan {
        channel
            .ask(message, |_, _| ())
            .doing(|| "set up the container's device".to_owned())?;
    }
    Ok(())
}

/// Makes a pair under the first free number, which nobody else can have then.
fn make_pair(
    host: &Channel,
    theirs: &OwnedFd,
    mtu: u32,
    first: u32,
    range: crate::Prefix,
) -> Result<(u32, u32)> {
    for number in first..pool::LINKS {
        let name = name(number);
        match host.ask(&link::pair(&name, INSIDE, theirs, mtu), |_, _| ()) {
            Ok(()) => return Ok((find(host, &name)?.index, number)),
            Err(e) if e.errno == Errno::EXIST => {}
            Err(e) => return Err(e).doing(|| format!("make the device {name}")),
        }
    }
    Err(Error::Full {
        count: pool::LINKS,
        prefix: range.to_string(),
    })
}

fn name(number: u32) -> String {
    format!("{NAMES}{number}")
}

fn find(channel: &Channel, name: &str) -> Result<Link> {
    let found = survey::links(channel)?
        .into_iter()
        .find(|link| link.name == name);
    found.ok_or_else(|| Error::System {
        what: format!("find the device {name}"),
        source: sys::SysError::new("RTM_GETLINK", name, Errno::NODEV),
    })
}

fn route_channel() -> Result<Channel> {
    Channel::open(Family::Route).doing(|| "ask for the host's network".to_owned())
}

/// A channel to the network of another namespace. We are in it for a moment.
fn channel_in(theirs: impl AsFd) -> Result<Channel> {
    const CLONE_NEWNET: u64 = 0x4000_0000;
    let ours = namespace("thread-self")?;
    let doing = || "look into the container's network".to_owned();
    sys::namespace::enter(theirs, CLONE_NEWNET).doing(doing)?;
    let channel = Channel::open(Family::Route);
    sys::namespace::enter(ours, CLONE_NEWNET).map_err(|source| Error::Return { source })?;
    channel.doing(doing)
}

/// From our own procfs, whose links nobody can have mounted over.
fn namespace(process: &str) -> Result<OwnedFd> {
    let path = format!("{process}/ns/net");
    let open = || -> sys::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        sys::at::openat(sys::proc::handle()?, path.as_str(), flags, Mode::empty())
            .map_err(|errno| sys::SysError::new("open", format_args!("/proc/{path}"), errno))
    };
    open().doing(|| "open the container's network".to_owned())
}
