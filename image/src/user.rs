//! The `USER` of an image → ids, from the image's own /etc/passwd and /etc/group: read below its root,
//! with limits, and never through the host's NSS. Not its job: becoming that user.
//!
//! A number is always that id and never a name (CVE-2016-3697), and nothing wraps around to 0
//! (CVE-2024-40635, CVE-2026-46680).

use sys::at::{self, FileType, OFlags};
use sys::beneath::Root;
use sys::file;

use crate::error::Doing;
use crate::{Error, Result};

/// /etc/passwd and /etc/group at most.
const MAX_FILE: u64 = 10 << 20;

/// The largest id that docker, containerd and the kernel's signed interfaces agree on.
const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups, the primary one first, each once.
    pub additional_gids: Vec<u32>,
    /// Its home directory: `/` if the image knows none.
    pub home: String,
}

/// Looks `user` (`name`, `uid`, `name:group`, `uid:gid`; empty is root) up in the tree `root`.
///
/// # Errors
/// If a name is unknown there, an id too large, or a file no regular one or over 10 MiB.
pub fn lookup(root: &Root, user: &str) -> Result<User> {
    let doing = || format!("user {user:?}");
    let passwd = read(root, "etc/passwd").map_err(|e| e.inside(doing()))?;
    let group = read(root, "etc/group").map_err(|e| e.inside(doing()))?;
    resolve(user, &passwd, &group)
}

/// The file's bytes; none if there is none. A FIFO, a device or a link to one is never opened
/// (CVE-2026-47262): it is looked at by an O_PATH fd first.
fn read(root: &Root, path: &str) -> Result<Vec<u8>> {
    let doing = || format!("read /{path} of the image");
    let Some(fd) = root.find(path).doing(doing)? else {
        return Ok(Vec::new());
    };
    let stat = at::fstat(&fd).map_err(|errno| sys::SysError::new("fstat", path, errno));
    if FileType::from_raw_mode(stat.doing(doing)?.st_mode) != FileType::RegularFile {
        return Err(Error::refused(doing(), "it is no regular file"));
    }
    let fd = sys::proc::open_again(&fd, OFlags::RDONLY).doing(doing)?;
    file::read_fd(fd, &path, MAX_FILE).doing(doing)
}

/// The pure half of [`lookup`]: `passwd` and `group` are the files' bytes.
///
/// # Errors
/// If a name is unknown there, or an id too large.
pub fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<User> {
    let refuse = |rule: String| Error::refused(format!("user {user:?}"), rule);
    let (name, group_name) = match user.split_once(':') {
        // As docker has it: nothing behind the colon asks for no group.
        Some((name, "")) => (name, None),
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let accounts: Vec<Account> = lines(passwd).filter_map(account).collect();
    let found = match number(name).map_err(refuse)? {
        Some(uid) => accounts
            .iter()
            .find(|a| a.uid == uid)
            .cloned()
            .unwrap_or(Account {
                name: String::new(),
                uid,
                gid: 0,
                home: String::new(),
            }),
        None if name.is_empty() => accounts
            .iter()
            .find(|a| a.uid == 0)
            .cloned()
            .unwrap_or_default(),
        None => accounts
            .iter()
            .find(|a| a.name == name)
            .cloned()
            .ok_or_else(|| refuse("the image's /etc/passwd does not have that name".to_owned()))?,
    };
    let groups: Vec<Group> = lines(group).filter_map(group_line).collect();
    let mut user = User {
        uid: found.uid,
        gid: found.gid,
        additional_gids: Vec::new(),
        home: home(&found.home),
    };
    match group_name {
        Some(group) => user.gid = group_id(group, &groups).map_err(refuse)?,
        // As docker has it: the memberships count only where no group was asked for.
        None => {
            let member = |g: &&Group| !found.name.is_empty() && g.members.contains(&found.name);
            user.additional_gids = groups.iter().filter(member).map(|g| g.gid).collect();
        }
    }
    // Without its primary group in the list, a process could shake off a group that a file's mode
    // forbids something to (CVE-2022-2989, CVE-2023-25173).
    user.additional_gids.insert(0, user.gid);
    let mut seen = std::collections::HashSet::new();
    user.additional_gids.retain(|gid| seen.insert(*gid));
    Ok(user)
}

fn group_id(group: &str, groups: &[Group]) -> Result<u32, String> {
    if let Some(gid) = number(group)? {
        return Ok(gid);
    }
    let found = groups.iter().find(|g| g.name == group);
    found
        .map(|g| g.gid)
        .ok_or_else(|| format!("the image's /etc/group does not have {group:?}"))
}

/// An id if it is all digits; `None` if it is a name. `+1`, ` 1`, `1x` and digits of other scripts are
/// names, and as such unknown.
fn number(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    if sys::fault::broken("no-id-range") {
        let wrapped = text.parse::<u64>().unwrap_or(0) & u64::from(u32::MAX);
        return Ok(u32::try_from(wrapped).ok());
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(format!("{text} is not an id from 0 to {MAX_ID}")),
    }
}

#[derive(Debug, Clone, Default)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// The lines that are text; a comment or a line of NIS has no ids and falls out later.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
}

/// `name:password:uid:gid:gecos:home:shell`. A line whose ids are no ids says nothing.
fn account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, rest @ ..] = &fields[..] else {
        return None;
    };
    Some(Account {
        name: (*name).to_owned(),
        uid: number(uid).ok()??,
        gid: number(gid).ok()??,
        home: rest.get(1).copied().unwrap_or_default().to_owned(),
    })
}

/// `name:password:gid:member,member`.
fn group_line(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, rest @ ..] = &fields[..] else {
        return None;
    };
    Some(Group {
        name: (*name).to_owned(),
        gid: number(gid).ok()??,
        members: rest.first().map_or_else(Vec::new, |members| {
            members.split(',').map(|m| m.trim().to_owned()).collect()
        }),
    })
}

/// Becomes `HOME`: it must be a path and nothing else.
fn home(home: &str) -> String {
    match home.starts_with('/') && !home.contains(char::is_control) {
        true => home.to_owned(),
        false => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        1000:x:0:0:a trap:/root:/bin/sh\n\
        app:x:1000:1000::/home/app:/bin/sh\n\
        evil:x:4294967296:0::/:/bin/sh\n\
        minus:x:-1:-1::/:/bin/sh\n\
        odd:x:7:7::/home/\x01odd:/bin/sh\n\
        +nis\n\xff\xfe:x:0:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nwheel:x:10:app,root\napp:x:1000:app\nvideo:x:44:app\n";

    fn ids(user: &str) -> Option<(u32, u32)> {
        resolve(user, PASSWD, GROUP).ok().map(|u| (u.uid, u.gid))
    }

    #[test]
    fn a_user_is_exactly_what_was_written_or_refused() {
        for (user, expected) in [
            ("", Some((0, 0))),
            ("0", Some((0, 0))),
            ("root", Some((0, 0))),
            ("app", Some((1000, 1000))),
            ("app:video", Some((1000, 44))),
            ("app:7", Some((1000, 7))),
            ("1", Some((1, 0))),
            ("01", Some((1, 0))),
            ("1:1", Some((1, 1))),
            // The name 1000 belongs to uid 0; the number is the number (CVE-2016-3697).
            ("1000", Some((1000, 1000))),
            ("2147483647", Some((2_147_483_647, 0))),
            ("2147483648", None),
            ("4294967295", None),
            ("4294967296", None),
            ("18446744073709551616", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1:", Some((1, 0))),
            ("app:", Some((1000, 1000))),
            (":", Some((0, 0))),
            ("1:1:1", None),
            ("1:-1", None),
            ("\u{0663}", None),
            ("evil", None),
            ("minus", None),
            ("nobody", None),
            ("app:none", None),
        ] {
            assert_eq!(ids(user), expected, "{user:?}");
        }
    }

    #[test]
    fn the_primary_group_is_in_the_list_once() {
        let groups = |user: &str| resolve(user, PASSWD, GROUP).unwrap().additional_gids;
        assert_eq!(groups("app"), [1000, 10, 44]);
        assert_eq!(groups("1000"), [1000, 10, 44]);
        assert_eq!(groups("app:video"), [44]);
        assert_eq!(groups("app:"), [1000, 10, 44]);
        assert_eq!(groups("7777"), [0]);
    }

    #[test]
    fn an_unknown_or_crooked_home_is_the_root() {
        let home = |user: &str| resolve(user, PASSWD, GROUP).unwrap().home;
        assert_eq!(home("app"), "/home/app");
        assert_eq!(home("odd"), "/");
        assert_eq!(home("5"), "/");
    }

    #[test]
    fn hostile_files_are_refused_at_once() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", outside.path().join("l")).unwrap();
        let etc = dir.path().join("etc");
        sys::file::create_dir(&etc, 0o755).unwrap();
        let root = || Root::new(sys::file::open_dir(dir.path()).unwrap());
        assert_eq!(lookup(&root(), "5").unwrap().uid, 5);
        // Out of the root: inside it that is nothing.
        symlink("../../../../../../etc/passwd", etc.join("passwd")).unwrap();
        assert!(lookup(&root(), "root").is_err());
        sys::file::remove_file(etc.join("passwd")).unwrap();
        let fd = sys::file::open_dir(&etc).unwrap();
        at::mknodat(&fd, "passwd", FileType::Fifo, at::Mode::RUSR, 0).unwrap();
        let error = lookup(&root(), "root").unwrap_err();
        assert!(
            format!("{error:?}").contains("no regular file"),
            "{error:?}"
        );
        sys::file::remove_file(etc.join("passwd")).unwrap();
        let huge = sys::file::create_new(etc.join("passwd"), 0o644).unwrap();
        huge.set_len(8 << 30).unwrap();
        assert!(lookup(&root(), "root").is_err());
    }
}
