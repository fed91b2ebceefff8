//! Which proxy leads to a server, by the variables that docker, podman and curl read: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `NO_PROXY`, in either case. This machine itself is never asked for through one. Pure; not its job: using it.

use std::net::IpAddr;

use ureq::Proxy;

use super::address::Origin;

/// The proxies of an environment.
#[derive(Debug, Clone)]
pub(super) struct Proxies {
    /// For servers with TLS.
    tls: Way,
    /// For those without.
    plain: Way,
    without: Vec<Without>,
}

/// A proxy, if one is to be used; or what is wrong with the variable that names it, for whoever needs it.
type Way = Result<Option<Proxy>, String>;

/// An entry of `NO_PROXY`: for whom no proxy is used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Without {
    whom: Whom,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    All,
    /// Addresses that begin with these bits.
    Net(IpAddr, u8),
    /// A host and those below it.
    Host(String),
    /// Those below it alone.
    Below(String),
}

impl Proxies {
    /// Those that `variable` names; of two spellings the upper one counts.
    pub(super) fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
            set(name).or_else(|| set(&name.to_lowercase()))
        };
        let proxy = |name: &str| -> Way {
            let Some(text) = find(name) else {
                return Ok(None);
            };
            let known = match text.split_once("://") {
                None => true,
                Some((scheme, _)) => {
                    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
                }
            };
            // Without what it holds: there may be a password in it.
            let refuse = |rule: &str| format!("variable {name}: {rule}");
            match known {
                true => Proxy::new(text.trim())
                    .map(Some)
                    .map_err(|_| refuse("it is no address of a proxy")),
                false => Err(refuse("a proxy is http:// or https://")),
            }
        };
        let without = find("NO_PROXY").unwrap_or_default();
        Self {
            tls: proxy("HTTPS_PROXY"),
            plain: proxy("HTTP_PROXY"),
            without: without.split(',').filter_map(Without::parse).collect(),
        }
    }

    /// The proxy that leads to a server.
    ///
    /// # Errors
    /// Says what is wrong with the variable that should name it.
    pub(super) fn to(&self, origin: &Origin) -> Way {
        let direct = origin.is_loopback() || self.without.iter().any(|entry| entry.means(origin));
        match (direct, origin.tls) {
            (true, _) => Ok(None),
            (false, true) => self.tls.clone(),
            (false, false) => self.plain.clone(),
        }
    }
}

impl Without {
    /// As Go's httpproxy reads one; what means nobody is passed over.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if text == "*" {
            return Some(Self {
                whom: Whom::All,
                port: None,
            });
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Self {
                whom: Whom::Net(address, bits),
                port: None,
            });
        }
        let (host, port) = split(&text)?;
        let whom = match (
            host.parse::<IpAddr>(),
            host.strip_prefix('.'),
            host.strip_prefix("*."),
        ) {
            (Ok(address), ..) => Whom::Net(address, if address.is_ipv4() { 32 } else { 128 }),
            (_, Some(below), _) | (_, _, Some(below)) => Whom::Below(below.to_owned()),
            _ => Whom::Host(host.to_owned()),
        };
        (!host.is_empty()).then_some(Self { whom, port })
    }

    fn means(&self, origin: &Origin) -> bool {
        let host = origin
            .host
            .trim_start_matches('[')
            .trim_end_matches([']', '.'])
            .to_lowercase();
        let below = |top: &str| {
            host.strip_suffix(top)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        let fits = match &self.whom {
            Whom::All => true,
            Whom::Net(net, bits) => host
                .parse()
                .is_ok_and(|address| within(address, *net, *bits)),
            Whom::Host(top) => host == *top || below(top),
            Whom::Below(top) => below(top),
        };
        fits && self.port.is_none_or(|port| port == origin.port)
    }
}

/// A host and a port, if it has one: `a.b:80`, `[::1]:80`, `::1`.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        return match behind.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => behind.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port.parse().ok()?))),
        _ => Some((text, None)),
    }
}

fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u8| bits == 0 || (a ^ b) >> (width - bits) == 0;
    match (address.to_canonical(), net.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(without: &str) -> Proxies {
        Proxies::new(|name| match name {
            "HTTPS_PROXY" => Some("http://user:word@tls.test:1".to_owned()),
            "https_proxy" => Some("http://not.this:1".to_owned()),
            "http_proxy" => Some("plain.test:2".to_owned()),
            "NO_PROXY" => Some(without.to_owned()),
            _ => None,
        })
    }

    fn to(proxies: &Proxies, host: &str, tls: bool) -> Option<String> {
        let origin = Origin::of_domain(host, tls).unwrap();
        let proxy = proxies.to(&origin).unwrap();
        proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_kind_of_server_has_its_proxy() {
        let all = proxies("");
        assert_eq!(to(&all, "a.test", true).unwrap(), "tls.test:1");
        assert_eq!(to(&all, "a.test", false).unwrap(), "plain.test:2");
        assert_eq!(to(&Proxies::new(|_| None), "a.test", true), None);
    }

    #[test]
    fn this_machine_is_asked_without_one() {
        let all = proxies("");
        for host in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert_eq!(to(&all, host, true), None, "{host}");
        }
        assert!(to(&all, "localhost.test", true).is_some());
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (without, host, direct) in [
            ("*", "a.test", true),
            ("a.test", "a.test", true),
            (" x.test , A.test", "a.test:5000", true),
            ("a.test", "b.a.test", true),
            ("a.test", "ba.test", false),
            (".a.test", "b.a.test", true),
            (".a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "a.test", false),
            ("a.test:5000", "a.test:5000", true),
            ("a.test:5000", "a.test:5001", false),
            ("a.test:443", "a.test", true),
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.9.8.7", false),
            ("10.0.0.0/8", "10.test", false),
            ("0.0.0.0/0", "11.9.8.7:5000", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.1.2.3", "10.1.2.3:5000", true),
            ("10.1.2.3:5000", "10.1.2.3:5001", false),
            ("fd00::/8", "[fd12::1]:5000", true),
            ("fd00::/8", "[fe80::1]", false),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]:5000", "[fd00::1]:5000", true),
            (",,", "a.test", false),
        ] {
            let found = to(&proxies(without), host, true);
            assert_eq!(found.is_none(), direct, "{without:?} {host}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_password() {
        for (value, because) in [
            (
                "socks5://me:secret@a",
                "variable HTTP_PROXY: a proxy is http:// or https://",
            ),
            (
                "http://me:secret@a:b:c",
                "variable HTTP_PROXY: it is no address of a proxy",
            ),
        ] {
            let proxies = Proxies::new(|name| (name == "HTTP_PROXY").then(|| value.to_owned()));
            let plain = Origin::of_domain("a.test", false).unwrap();
            assert_eq!(proxies.to(&plain).unwrap_err(), because);
            // Who does not need it does not care.
            for (host, tls) in [("a.test", true), ("localhost", false)] {
                assert_eq!(to(&proxies, host, tls), None);
            }
        }
    }
}
