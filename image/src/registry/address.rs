//! Web addresses, as strictly as a registry needs them: http or https, a host, a port, a path; no user
//! in them, no odd characters. Not its job: asking anybody.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest address taken from anybody.
const LONGEST: usize = 8 << 10;

/// Why a text is no address; the text is in the error that wraps it.
pub(super) type Rule = &'static str;

/// Whom one speaks with: credentials never go from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// By TLS.
    pub(super) tls: bool,
    /// In lower case; an IPv6 address has its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) origin: Origin,
    /// Path and query, beginning with a slash.
    pub(super) path: String,
}

impl Origin {
    /// The registry `domain` (`host` or `host:port`), as an image name has it.
    pub(super) fn of_domain(domain: &str, tls: bool) -> Result<Self, Rule> {
        let (host, port) = split_port(domain)?;
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(default_port(tls)),
        })
    }

    /// Whether it is this machine, so that nobody listens on the way.
    pub(super) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())
            || bare.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback())
    }

    /// The address of `path` there.
    pub(super) fn at(&self, path: impl Into<String>) -> Address {
        Address {
            origin: self.clone(),
            path: path.into(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.port == default_port(self.tls) {
            true => write!(f, "{scheme}://{}", self.host),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl Address {
    /// Parses a whole address.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        if text.len() > LONGEST {
            return Err("it is too long");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("it holds blanks, control characters or letters that are not ASCII");
        }
        let (scheme, rest) = text.split_once("://").ok_or("it is no http address")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it is no http address"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it names a user");
        }
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Ok(Origin::of_domain(authority, tls)?.at(path))
    }

    /// Where an answer from here sends us. A whole address, or a path of the same origin. What claims that
    /// this host is to be had without TLS when we came with it is taken to mean us: servers behind a proxy
    /// don't know how they are reached.
    pub(super) fn join(&self, location: &str) -> Result<Self, Rule> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::parse(&format!("{}{location}", self.origin));
        }
        let mut to = Self::parse(location)?;
        if self.origin.tls && !to.origin.tls && self.origin.host == to.origin.host {
            to.origin = self.origin.clone();
        }
        Ok(to)
    }

    /// The address with one more thing asked; `value` is escaped.
    #[must_use]
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(key);
        self.path.push('=');
        self.path.push_str(&escape(value));
        self
    }
}

/// Percent-encodes what is not plain in a query or a form.
pub(super) fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), Rule> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|p| *p != 0)
                .ok_or("its port is no number from 1 to 65535")?,
        ),
    };
    let host = host.to_ascii_lowercase();
    let plain = |text: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        !text.is_empty() && text.len() <= 253 && text.bytes().all(legal)
    };
    let good = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => plain(&host),
    };
    match good {
        true => Ok((host, port)),
        false => Err("its host is no host name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn an_address_prints_as_it_is_asked_for() {
        for (text, shown) in [
            ("https://a.b/v2/?x=y", "https://a.b/v2/?x=y"),
            ("HTTPS://A.b:443", "https://a.b/"),
            ("http://localhost:5000/v2/#x", "http://localhost:5000/v2/"),
            ("http://[::1]:80/", "http://[::1]/"),
            ("https://a?x", "https://a/?x"),
        ] {
            assert_eq!(parse(text).to_string(), shown);
        }
    }

    #[test]
    fn what_another_reader_could_take_for_another_host_is_refused() {
        for text in [
            "a.b/v2/",
            "ftp://a.b/",
            "https://user@a.b/",
            "https://user:word@a.b/",
            "https:///v2/",
            "https://a b/",
            "https://a.b/\r\nHost: c",
            "https://a.b\\@c/",
            "https://ä/",
            "https://a:0/",
            "https://a:65536/",
            "https://a:x/",
            "https://[::g]/",
            "https://[::1/",
            &format!("https://a/{}", "x".repeat(LONGEST)),
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_location_is_a_whole_address_or_a_path() {
        let from = parse("https://r.io/v2/x");
        for (location, to) in [
            ("/v2/y?a=b", "https://r.io/v2/y?a=b"),
            ("https://cdn.io/z", "https://cdn.io/z"),
            // A server that does not know of the TLS before it.
            ("http://r.io/v2/y", "https://r.io/v2/y"),
            ("http://cdn.io/z", "http://cdn.io/z"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to);
        }
        for location in ["", "y", "//cdn.io/z", "https://u@cdn.io/"] {
            assert!(from.join(location).is_err(), "{location:?} was taken");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (domain, local) in [
            ("localhost:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("localhost.evil.io", false),
            ("127.0.0.1.evil.io", false),
            ("10.0.0.1", false),
        ] {
            let origin = Origin::of_domain(domain, false).unwrap();
            assert_eq!(origin.is_loopback(), local, "{domain}");
        }
    }

    #[test]
    fn what_is_asked_is_escaped() {
        let address = parse("https://a/t").with("scope", "repository:x/y:pull,push");
        let address = address.with("service", "a b&c=d");
        assert_eq!(
            address.path,
            "/t?scope=repository%3Ax%2Fy%3Apull%2Cpush&service=a%20b%26c%3Dd"
        );
    }
}
