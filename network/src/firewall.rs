//! Our packet rules: one table for all our devices, told by the beginning of their names, so that it says the
//! same however many there are. Not its job: rules' bytes (rule).
//!
//! Nobody holds a lock. Whoever needs the table makes its device first and then puts the table anew; whoever
//! removes it looks for devices after having asked for the number of the last change. The kernel refuses a
//! change that was meant for another number: so the table is never removed under a device.

use std::collections::BTreeSet;

use sys::netlink::{Channel, Family};
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::expression::Expression;
use crate::rule::{self, Chain, Hook};
use crate::survey::NAMES;

/// The table's name.
const TABLE: &str = "dhow-build";

/// Names the chain that keeps a device, whose forwarding we have switched on, from more than we need.
const CLOSED: &str = "closed-";

/// How often others may be faster.
const TIMES: u32 = 1000;

/// RFC 3927: addresses without a router, where clouds hand out the machine's keys.
const LINK_LOCAL: [u8; 2] = [169, 254];
/// The same of Amazon's by IPv6: fd00:ec2::254.
const KEYS_BY_SIX: [u8; 16] = [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54];
/// Where names are asked for; some clouds answer at such an address.
const DOMAIN: u16 = 53;
/// Questions for a neighbour's hardware address, and their answers.
const NEIGHBOURS: [u8; 2] = [135, 136];

/// The chains, where forwarding was switched on for `opened`.
pub(crate) fn chains(opened: &BTreeSet<String>) -> Vec<Chain> {
    use Expression::{Answers, From, NotTo, To, Translate};
    let chain = |name: &str, hook, priority, rules| Chain {
        name: name.to_owned(),
        hook,
        priority,
        rules,
    };
    let mut chains = vec![
        // After connections are known (-200), before anybody's redirections (-100): a port that is published
        // at the host's address leads elsewhere after that.
        chain(
            "host",
            Hook::Prerouting,
            -150,
            host(Expression::ToThisMachine),
        ),
        chain("input", Hook::Input, -10, host(From(NAMES))),
        chain("forward", Hook::Forward, -10, forward()),
        chain(
            "translation",
            Hook::Translation,
            100,
            vec![vec![From(NAMES), NotTo(NAMES), Translate]],
        ),
    ];
    for device in opened {
        let from = Expression::FromDevice(device.clone());
        let rules = vec![
            vec![from.clone(), To(NAMES), Answers, Expression::Accept],
            vec![from, Expression::Drop],
        ];
        // This machine was no router before, and is none for its neighbours now.
        chains.push(chain(
            &format!("{CLOSED}{device}"),
            Hook::Forward,
            -9,
            rules,
        ));
    }
    chains
}

/// What comes from a container and meets `where_to` is for the host itself: nothing is let in.
fn host(where_to: Expression) -> Vec<Vec<Expression>> {
    use Expression::{Accept, Answers, From, Icmp6};
    if sys::fault::broken("no-host-closed") {
        return Vec::new();
    }
    let mut rules = vec![vec![From(NAMES), Answers, Accept]];
    rules.extend(NEIGHBOURS.map(|kind| vec![From(NAMES), Icmp6(kind), Accept]));
    rules.extend(refuse(vec![From(NAMES), where_to]));
    rules
}

/// Says no to what meets `conditions`, in a way that its sender hears at once.
fn refuse(conditions: Vec<Expression>) -> [Vec<Expression>; 2] {
    let with = |last: &[Expression]| [&conditions, last].concat();
    [
        with(&[Expression::Tcp, Expression::Reset]),
        with(&[Expression::Refuse]),
    ]
}

/// What goes through the host.
fn forward() -> Vec<Vec<Expression>> {
    use Expression::{Accept, Answers, Drop, From, To, ToPort, ToV4, ToV6};
    let link_local = || ToV4(LINK_LOCAL.to_vec());
    let mut rules = Vec::new();
    // Builds do not know each other.
    rules.extend(refuse(vec![From(NAMES), To(NAMES)]));
    rules.push(vec![From(NAMES), link_local(), ToPort(DOMAIN), Accept]);
    rules.extend(refuse(vec![From(NAMES), link_local()]));
    rules.extend(refuse(vec![From(NAMES), ToV6(KEYS_BY_SIX.to_vec())]));
    rules.push(vec![To(NAMES), Answers, Accept]);
    rules.push(vec![To(NAMES), Drop]);
    rules
}

/// The kernel's packet rules, open.
pub(crate) struct Firewall {
    channel: Channel,
}

impl Firewall {
    /// Opens them.
    pub(crate) fn open() -> Result<Self> {
        let opened = if sys::fault::broken("no-packet-rules") {
            Err(SysError::new("socket", "netfilter", Errno::PROTONOSUPPORT))
        } else {
            Channel::open(Family::Netfilter)
        };
        let channel = opened.doing(|| "open the packet rules".to_owned())?;
        Ok(Self { channel })
    }

    /// Puts the table anew. `opened` are the devices whose forwarding is going to be switched on; those of
    /// which the table knew stay known.
    pub(crate) fn put(&self, opened: &BTreeSet<String>) -> Result<()> {
        for _ in 0..TIMES {
            let since = self.generation()?;
            let mut all = self.opened()?;
            all.extend(opened.iter().cloned());
            if self.change(&rule::replace(TABLE, &chains(&all), since))? {
                return Ok(());
            }
        }
        Err(Error::Busy { times: TIMES })
    }

    /// Removes the table if `is_unused` says that there is no device of ours; gives the devices whose
    /// forwarding we had switched on, or `None` if there is nothing to remove.
    pub(crate) fn remove(
        &self,
        mut is_unused: impl FnMut() -> Result<bool>,
    ) -> Result<Option<BTreeSet<String>>> {
        for _ in 0..TIMES {
            let since = self.generation()?;
            if self.chain_names()?.is_empty() || !is_unused()? {
                return Ok(None);
            }
            let opened = self.opened()?;
            if self.change(&rule::remove(TABLE, since))? {
                return Ok(Some(opened));
            }
        }
        Err(Error::Busy { times: TIMES })
    }

    /// Whether it was done; not so if somebody else has changed something meanwhile.
    fn change(&self, messages: &[sys::netlink::Message]) -> Result<bool> {
        // Linux' own number for "begin again", which no program sees otherwise.
        const ERESTART: i32 = 85;
        match self.channel.ask_together(messages) {
            Ok(()) => Ok(true),
            // What was asked for before is gone, which the kernel may notice first.
            Err(e) if e.errno == Errno::from_raw_os_error(ERESTART) => Ok(false),
            Err(e) => Err(e).doing(|| "set the packet rules".to_owned()),
        }
    }

    fn generation(&self) -> Result<u32> {
        let mut generation = 0;
        self.channel
            .ask(&rule::generation(), |kind, body| {
                generation = rule::generation_heard(kind, body).unwrap_or(generation);
            })
            .doing(|| "ask for the packet rules".to_owned())?;
        Ok(generation)
    }

    fn chain_names(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        self.channel
            .ask(&rule::chains(), |kind, body| {
                let ours = rule::chain_heard(kind, body).filter(|(table, _)| table == TABLE);
                names.extend(ours.map(|(_, chain)| chain));
            })
            .doing(|| "list the packet rules".to_owned())?;
        Ok(names)
    }

    fn opened(&self) -> Result<BTreeSet<String>> {
        let names = self.chain_names()?;
        let devices = names.iter().filter_map(|name| name.strip_prefix(CLOSED));
        Ok(devices.map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_container_ends_at_the_host() {
        let chains = chains(&BTreeSet::new());
        for name in ["host", "input"] {
            let chain = chains.iter().find(|chain| chain.name == name).unwrap();
            let last = chain.rules.last().unwrap();
            assert_eq!(last.last(), Some(&Expression::Refuse), "{name}");
        }
    }

    #[test]
    fn a_device_that_was_opened_forwards_to_containers_alone() {
        let chains = chains(&["eth0".to_owned()].into());
        let chain = chains.last().unwrap();
        assert_eq!(chain.name, "closed-eth0");
        assert_eq!(chain.rules.last().unwrap().last(), Some(&Expression::Drop));
    }
}
