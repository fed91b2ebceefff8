//! What a RUN's network is: its name servers, and its way out while it runs. Not its job: how that is made
//! (network), and which network a RUN asks for (request).

use network::{Outbound, Resolver, UserMode};

use crate::error::{Error, Result};
use crate::request::NetworkDefault;

/// The command's /etc/resolv.conf; `say` is told what the command will miss.
pub(crate) fn resolver(network: NetworkDefault, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
    match network {
        NetworkDefault::Host => {
            Ok(sys::file::read("/etc/resolv.conf", 1 << 16).unwrap_or_default())
        }
        NetworkDefault::None => Ok(Vec::new()),
        NetworkDefault::Outbound => {
            let found = match is_users() {
                true => UserMode::resolver(),
                false => Resolver::outbound(),
            };
            let resolver = found.map_err(fault)?;
            if !resolver.has_server {
                let servers: Vec<&str> = resolver.left_out.iter().map(|s| s.0.as_str()).collect();
                say(&format!(
                    "no names can be looked up: the host's name servers ({}) are out of reach",
                    if servers.is_empty() {
                        "none".to_owned()
                    } else {
                        servers.join(", ")
                    }
                ));
            }
            Ok(resolver.text.into_bytes())
        }
    }
}

/// A way out that a command has.
pub(crate) enum Way {
    /// Made by root.
    Pair(Outbound),
    /// Made without root.
    Program(UserMode),
}

/// Whether we are root of nothing but a user namespace, and can make no devices for the host.
fn is_users() -> bool {
    sys::privileges::is_nested()
}

impl Way {
    /// The network namespace that is there already, if one is.
    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Self::Pair(_) => None,
            Self::Program(way) => Some(way.path()),
        }
    }
}

/// Makes what there must be before the container, if it is to have a way out.
pub(crate) fn before(network: NetworkDefault) -> Result<Option<Way>> {
    if network != NetworkDefault::Outbound || !is_users() {
        return Ok(None);
    }
    let way = UserMode::make().map_err(fault)?;
    Ok(Some(Way::Program(way)))
}

/// Gives the container whose first process is `pid` its way out, if it is to have one and has none.
pub(crate) fn give(
    network: NetworkDefault,
    way: Option<Way>,
    pid: i32,
    say: &mut dyn FnMut(&str),
) -> Result<Option<Way>> {
    if network != NetworkDefault::Outbound || way.is_some() {
        return Ok(way);
    }
    let way = Outbound::give(pid).map_err(fault)?;
    for device in way.opened() {
        say(&format!(
            "the host lets IPv4 packets for containers through from {device} while steps run"
        ));
    }
    Ok(Some(Way::Pair(way)))
}

/// Takes it away again.
pub(crate) fn end(way: Option<Way>) -> Result<()> {
    match way {
        None => Ok(()),
        Some(Way::Pair(way)) => way.end().map_err(fault),
        Some(Way::Program(way)) => way.end().map_err(fault),
    }
}

/// Removes what killed builds have left of theirs.
pub(crate) fn clear() -> Result<()> {
    if is_users() {
        return Ok(());
    }
    network::clear().map_err(fault)
}

fn fault(source: network::Error) -> Error {
    Error::Network { source }
}
