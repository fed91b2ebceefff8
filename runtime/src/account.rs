//! /etc/passwd: of the container, read from inside of its root, and of the host. Hostile input: a huge file, a FIFO or a
//! device costs nothing and says nothing (CVE-2026-47262). Not its job: names given by people (image).

use std::io::Read;

use sys::Errno;

/// The part of the file that is looked at.
const MAX_PASSWD: u64 = 1 << 20;

/// The home directory of user `uid`; `/` where none is recorded or the file can't be used.
///
/// # Errors
/// As open(2), for anything but a missing or unreadable file.
pub(crate) fn home(uid: u32) -> sys::Result<String> {
    let file = match sys::file::open("/etc/passwd") {
        Ok(file) => file,
        Err(e)
            if matches!(
                e.errno,
                Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NXIO
            ) =>
        {
            return Ok("/".to_owned());
        }
        Err(e) => return Err(e),
    };
    let is_file = file.metadata().is_ok_and(|m| m.is_file());
    let mut bytes = Vec::new();
    if !is_file || file.take(MAX_PASSWD).read_to_end(&mut bytes).is_err() {
        return Ok("/".to_owned());
    }
    Ok(find(&String::from_utf8_lossy(&bytes), uid)
        .unwrap_or("/")
        .to_owned())
}

/// The name of the host's user `uid`, as `state` and `list` show an owner; `#uid` where none is recorded.
pub(crate) fn name(uid: u32) -> String {
    let bytes = sys::file::read("/etc/passwd", MAX_PASSWD).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&bytes);
    let found = line(&passwd, uid).and_then(|fields| fields.first().copied());
    found.map_or_else(|| format!("#{uid}"), str::to_owned)
}

/// The home in the first line of the user `uid`.
fn find(passwd: &str, uid: u32) -> Option<&str> {
    let home = line(passwd, uid)?.get(5).copied()?;
    home.starts_with('/').then_some(home)
}

/// The fields of the first line whose third is `uid`, in plain digits.
fn line(passwd: &str, uid: u32) -> Option<Vec<&str>> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = fields.get(2)?;
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        (plain && number.parse() == Ok(uid)).then_some(fields)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_user_is_found_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n1000:x:1001:5::/n:\nx:x:+7:1::/evil:\nbad\nu:x:1000:5::/home/u:/bin/sh\n";
        assert_eq!(find(passwd, 0), Some("/root"));
        assert_eq!(find(passwd, 1000), Some("/home/u"));
        assert_eq!(find(passwd, 7), None);
    }
}
