//! The name servers of a container: the host's, without those that it can't reach. Pure but for the reading.
//! Not its job: putting the file into the container.

use std::net::IpAddr;

use sys::netlink::{Channel, Family};

use crate::error::{Doing, Result};
use crate::forwarding;
use crate::survey::Survey;

/// The most that is read of a resolv.conf.
const LIMIT: u64 = 1 << 16;

/// Where the host says which name servers it asks; the second holds those behind systemd's own, which stands
/// at a loopback address.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// A container's resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolver {
    /// Its text.
    pub text: String,
    /// The host's name servers that are not in it.
    pub left_out: Vec<Unreachable>,
    /// Whether any name server is in it.
    pub has_server: bool,
}

/// A name server that a container can't reach, in the host's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(pub String);

impl Resolver {
    /// That of a container with an [`crate::Outbound`] way. A file that the host lacks counts as empty.
    ///
    /// # Errors
    /// [`crate::Error::System`] if the host's network can't be asked for.
    pub fn outbound() -> Result<Self> {
        let doing = || "ask for the host's network".to_owned();
        let survey = Survey::of(&Channel::open(Family::Route).doing(doing)?)?;
        let six = forwarding::six_is_on() && !survey.ways_out(true).is_empty();
        let reaches = |server: IpAddr| !survey.is_own(server) && (server.is_ipv4() || six);
        let files = FILES.map(|path| sys::file::read(path, LIMIT).unwrap_or_default());
        let [first, second] = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let resolver = Self::of(&first, reaches);
        if resolver.has_server {
            return Ok(resolver);
        }
        match Self::of(&second, reaches) {
            behind if behind.has_server => Ok(behind),
            _ => Ok(resolver),
        }
    }

    fn of(text: &str, reaches: impl Fn(IpAddr) -> bool) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("nameserver"), Some(server)) => {
                    // One with a zone (fe80::1%eth0) names a device of the host's.
                    if server.parse().is_ok_and(&reaches) {
                        resolver.has_server = true;
                    } else {
                        resolver.left_out.push(Unreachable(server.to_owned()));
                        continue;
                    }
                }
                (Some("search" | "domain" | "options"), Some(_)) => {}
                _ => continue,
            }
            resolver.text.push_str(line.trim());
            resolver.text.push('\n');
        }
        resolver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_out_of_reach_are_left_out_by_name() {
        let host = "# by hand\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\n\
                    options edns0\nsearch example.org\nsortlist 1.2.3.4\n";
        let resolver = Resolver::of(host, |server| !server.is_loopback());
        assert_eq!(
            resolver.text,
            "nameserver 9.9.9.9\noptions edns0\nsearch example.org\n"
        );
        assert!(resolver.has_server);
        let left: Vec<&str> = resolver.left_out.iter().map(|s| s.0.as_str()).collect();
        assert_eq!(left, ["127.0.0.53", "fe80::1%eth0"]);
    }

    #[test]
    fn a_host_with_servers_of_its_own_alone_has_none_for_a_container() {
        let resolver = Resolver::of("nameserver ::1\n", |server| !server.is_loopback());
        assert!(!resolver.has_server);
        assert_eq!(resolver.text, "");
    }
}
