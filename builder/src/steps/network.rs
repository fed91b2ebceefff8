//! What a RUN's network is: its name servers, and its way out while it runs. Not its job: how that is made
//! (network), and which network a RUN asks for (request).

use network::{Outbound, Resolver};

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
            let resolver = Resolver::outbound().map_err(fault)?;
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

/// Gives the container whose first process is `pid` its way out, if it is to have one.
pub(crate) fn give(
    network: NetworkDefault,
    pid: i32,
    say: &mut dyn FnMut(&str),
) -> Result<Option<Outbound>> {
    if network != NetworkDefault::Outbound {
        return Ok(None);
    }
    let way = Outbound::give(pid).map_err(fault)?;
    for device in way.opened() {
        say(&format!(
            "the host lets IPv4 packets for containers through from {device} while steps run"
        ));
    }
    Ok(Some(way))
}

/// Takes it away again.
pub(crate) fn end(way: Option<Outbound>) -> Result<()> {
    way.map_or(Ok(()), |way| way.end().map_err(fault))
}

/// Removes what killed builds have left of theirs.
pub(crate) fn clear() -> Result<()> {
    network::clear().map_err(fault)
}

fn fault(source: network::Error) -> Error {
    Error::Network { source }
}
