//! The formats of the files that tell of use (Documentation/admin-guide/cgroup-v2.rst, accounting/psi.rst).
//! Pure. Not its job: reading them.

use super::{Averages, DeviceIo, Pressure};

/// Lines `key number`.
pub(super) fn pairs(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

/// io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. A device that nothing was asked of has no keys.
pub(super) fn devices(text: &str) -> Vec<DeviceIo> {
    text.lines().filter_map(device).collect()
}

fn device(line: &str) -> Option<DeviceIo> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut device = DeviceIo {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        ..DeviceIo::default()
    };
    let mut any = false;
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let place = match key {
            "rbytes" => &mut device.read_bytes,
            "wbytes" => &mut device.written_bytes,
            "rios" => &mut device.reads,
            "wios" => &mut device.writes,
            _ => continue,
        };
        *place = value.parse().ok()?;
        any = true;
    }
    any.then_some(device)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`, which older kernels do not
/// tell for processors.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut any = false;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let place = match kind {
            "some" => &mut pressure.some,
            "full" => &mut pressure.full,
            _ => continue,
        };
        *place = averages(rest)?;
        any = true;
    }
    any.then_some(pressure)
}

fn averages(text: &str) -> Option<Averages> {
    let mut averages = Averages::default();
    for (key, value) in text.split(' ').filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => averages.avg10 = value.parse().ok()?,
            "avg60" => averages.avg60 = value.parse().ok()?,
            "avg300" => averages.avg300 = value.parse().ok()?,
            "total" => averages.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(averages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_is_told_of_once() {
        let text =
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:1 \n(unknown) rbytes=1\n";
        let expected = DeviceIo {
            major: 8,
            minor: 0,
            read_bytes: 1,
            written_bytes: 2,
            reads: 3,
            writes: 4,
        };
        assert_eq!(devices(text), [expected]);
    }

    #[test]
    fn pressure_is_some_and_full() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let pressure = pressure(text).unwrap();
        assert_eq!((pressure.some.avg10, pressure.some.total), (1.5, 77));
        assert_eq!(pressure.full.total, 5);
    }

    #[test]
    fn what_is_no_pressure_is_none() {
        for text in ["", "none of it", "some avg10=x"] {
            assert_eq!(pressure(text), None, "{text}");
        }
    }
}
