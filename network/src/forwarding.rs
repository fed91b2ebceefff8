//! Whether this machine passes packets on, device by device: it must for a container to be heard outside. Not
//! its job: which packets (firewall).

use std::collections::BTreeSet;

use crate::error::{Doing, Result};

/// Whether IPv4 is passed on from this device.
pub(crate) fn is_on(device: &str) -> Result<bool> {
    let text = sys::proc::read(&path(device)).doing(|| doing(device))?;
    Ok(text.trim() != "0")
}

/// Whether IPv6 is passed on at all. There we change nothing: the switch is one for the whole machine, which
/// stops listening to its own router by it.
pub(crate) fn six_is_on() -> bool {
    sys::proc::read("sys/net/ipv6/conf/all/forwarding").is_ok_and(|text| text.trim() == "1")
}

/// Switches it on for one device.
pub(crate) fn switch_on(device: &str) -> Result<()> {
    sys::proc::write(&path(device), "1").doing(|| doing(device))
}

/// Switches it off again where we had switched it on, unless somebody has switched it on for the whole
/// machine since, or the device is gone.
pub(crate) fn switch_off(devices: &BTreeSet<String>) -> Result<()> {
    if devices.is_empty() || is_on("all")? {
        return Ok(());
    }
    for device in devices {
        match sys::proc::write(&path(device), "0") {
            Err(e) if e.errno == sys::Errno::NOENT => {}
            result => result.doing(|| doing(device))?,
        }
    }
    Ok(())
}

fn path(device: &str) -> String {
    format!("sys/net/ipv4/conf/{device}/forwarding")
}

fn doing(device: &str) -> String {
    format!("let packets through from {device}")
}
