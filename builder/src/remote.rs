//! What comes from a server: files and git repositories, by their addresses as BuildKit reads them. Pure.
//! Not its job: asking servers.

use std::path::PathBuf;

/// Something that comes from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    /// A file by http or https.
    File(String),
    /// A git repository.
    Repository(Repository),
}

/// A git repository, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Repository {
    /// Its address, as git takes it.
    pub(crate) url: String,
    /// A branch, a tag, or a commit in full; none means what the server's HEAD is.
    pub(crate) reference: Option<String>,
    /// The folder that is meant.
    pub(crate) folder: Option<String>,
    /// What the commit must be, or begin with.
    pub(crate) checksum: Option<String>,
    /// Whether `.git` is there, if the address says it.
    pub(crate) keep_git_dir: Option<bool>,
    /// Whether repositories inside the repository are fetched too.
    pub(crate) submodules: bool,
    /// The socket of the agent that ssh may ask.
    pub(crate) agent: Option<PathBuf>,
}

/// Whether a text is, or may be meant as, a server's address.
pub fn is_address(text: &str) -> bool {
    !matches!(remote(text), Ok(None)) || text.contains("://")
}

/// What a source of ADD, or a context, says of a server; none if it is no address.
///
/// # Errors
/// An address that git, a shell or a terminal might take for something else.
pub(crate) fn remote(text: &str) -> Result<Option<Remote>, String> {
    let lower = text.to_ascii_lowercase();
    let scheme = ["http://", "https://", "git://", "ssh://"]
        .iter()
        .find(|scheme| lower.starts_with(**scheme));
    let is_web = matches!(scheme, Some(&"http://" | &"https://"));
    let (address, after) = cut(text);
    if scheme.is_none() && !is_scp(address) {
        return Ok(None);
    }
    if is_web && !path_of(address).trim_end_matches('/').ends_with(".git") {
        return Ok(Some(Remote::File(text.to_owned())));
    }
    let refuse = |why: &str| format!("address {address:?}: {why}");
    if !address.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refuse("it holds blanks or letters that are not ASCII"));
    }
    let host = host_of(address);
    let unlike_a_flag = |part: &str| !part.is_empty() && !part.starts_with('-');
    // CVE-2017-1000117, CVE-2019-13139: what begins with a dash is an option somewhere.
    if !host.split('@').all(unlike_a_flag)
        || path_of(address).trim_start_matches('/').starts_with('-')
    {
        return Err(refuse("its host or path could be taken for an option"));
    }
    if is_web && host.contains('@') {
        return Err(refuse("it names a user: secrets have no place in a recipe"));
    }
    let mut found = Repository {
        url: address.to_owned(),
        submodules: true,
        ..Repository::default()
    };
    found
        .read(after)
        .map_err(|why| format!("{text:?}: {why}"))?;
    Ok(Some(Remote::Repository(found)))
}

/// The name that a file of this address gets: the last one of its path.
///
/// # Errors
/// A name that is none.
pub(crate) fn file_name(url: &str) -> Result<String, String> {
    let (address, _) = cut(url);
    let path = unescape(path_of(address)).ok_or_else(|| format!("{url:?}: its path is no text"))?;
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    match name {
        "" | "." => Ok("__unnamed__".to_owned()),
        name if name == ".." || name.contains('\0') => {
            Err(format!("{url:?}: its path ends in no file's name"))
        }
        name => Ok(name.to_owned()),
    }
}

impl Repository {
    /// Reads what follows the address: `#REF:FOLDER`, or `?ref=…&subdir=…`.
    fn read(&mut self, after: &str) -> Result<(), String> {
        let (query, fragment) = match after.split_once('#') {
            Some((query, fragment)) => (query, fragment),
            None => (after, ""),
        };
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.reference = given(reference);
        self.folder = given(folder);
        for pair in query.trim_start_matches('?').split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescape(value).ok_or_else(|| format!("{key} is no text"))?;
            if !key.is_empty() {
                self.option(key, value)?;
            }
        }
        if self
            .reference
            .as_deref()
            .is_some_and(|name| !is_reference(name))
        {
            return Err("it names no branch, tag or commit".to_owned());
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: String) -> Result<(), String> {
        let once = |slot: &mut Option<String>, value: String| match slot {
            Some(old) if *old != value => Err(format!("{key} is given twice")),
            slot => {
                *slot = (!value.is_empty()).then_some(value);
                Ok(())
            }
        };
        let on = |value: &str| match value {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            other => Err(format!("{key}={other}: neither true nor false")),
        };
        match key {
            "ref" => once(&mut self.reference, value),
            "branch" => once(&mut self.reference, format!("refs/heads/{value}")),
            "tag" => once(&mut self.reference, format!("refs/tags/{value}")),
            "subdir" => once(&mut self.folder, value),
            "checksum" | "commit" => once(&mut self.checksum, value),
            "keep-git-dir" => {
                self.keep_git_dir = Some(on(&value)?);
                Ok(())
            }
            "submodules" => {
                self.submodules = on(&value)?;
                Ok(())
            }
            other => Err(format!("unknown option {other:?}")),
        }
    }
}

/// The address, and its query and fragment.
fn cut(text: &str) -> (&str, &str) {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    text.split_at(end)
}

/// `user@host:path`
fn is_scp(address: &str) -> bool {
    let Some((host, path)) = address.split_once(':') else {
        return false;
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+');
    match host.split_once('@') {
        Some((user, host)) => {
            let parts = [user, host];
            !path.is_empty() && parts.iter().all(|p| !p.is_empty() && p.bytes().all(legal))
        }
        None => false,
    }
}

/// User, host and port.
fn host_of(address: &str) -> &str {
    match address.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => address.split(':').next().unwrap_or(address),
    }
}

fn path_of(address: &str) -> &str {
    match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => address.split_once(':').map_or("", |(_, path)| path),
    }
}

/// Whether git may be asked for it: git-check-ref-format's rules, as far as they matter here.
fn is_reference(name: &str) -> bool {
    let legal = |c: char| !c.is_whitespace() && !c.is_control() && !"~^:?*[\\".contains(c);
    name.len() < 256
        && !name.starts_with(['-', '/'])
        && !name.ends_with('/')
        && !name.contains("..")
        && !name.contains("@{")
        && name.chars().all(legal)
}

/// Percent-decodes; none if it does not give text.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16);
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                bytes.push(u8::try_from(hex(*high)? * 16 + hex(*low)?).ok()?);
                after
            }
            (b'%', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        match remote(text).unwrap() {
            Some(Remote::Repository(found)) => found,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn an_address_says_what_it_is() {
        for text in [
            "a",
            "./http://x",
            "a:b",
            "@a:b",
            "user@:x",
            "file:///etc",
            "ext::sh -c x",
            "c:\\x",
        ] {
            assert_eq!(remote(text), Ok(None), "{text}");
        }
        for text in [
            "http://h/a.tar",
            "https://h/x.git/a",
            "HTTPS://h/a?b.git",
            "https://h",
        ] {
            assert_eq!(remote(text), Ok(Some(Remote::File(text.to_owned()))));
        }
        for text in [
            "https://h/a.git",
            "https://h/a.git/",
            "git://h/a",
            "ssh://git@h:22/a",
            "git@h.b:c/d.git",
            "me@h:~/d",
        ] {
            assert_eq!(repository(text).url, text);
        }
    }

    #[test]
    fn a_repository_is_asked_for_in_two_forms() {
        let found = repository("https://h/a.git#v1:sub/folder");
        assert_eq!(found.reference.as_deref(), Some("v1"));
        assert_eq!(found.folder.as_deref(), Some("sub/folder"));
        assert!(found.submodules && found.keep_git_dir.is_none());
        let found = repository(
            "https://h/a.git?ref=v1&subdir=sub%2Ffolder&checksum=abc&keep-git-dir=1&submodules=false",
        );
        assert_eq!(found.url, "https://h/a.git");
        assert_eq!(found.reference.as_deref(), Some("v1"));
        assert_eq!(found.folder.as_deref(), Some("sub/folder"));
        assert_eq!(found.checksum.as_deref(), Some("abc"));
        assert!(!found.submodules && found.keep_git_dir == Some(true));
        assert_eq!(
            repository("git@h:a.git?tag=x").reference.as_deref(),
            Some("refs/tags/x")
        );
        assert_eq!(repository("git@h:a.git#:x").folder.as_deref(), Some("x"));
    }

    #[test]
    fn what_could_be_an_option_or_a_lie_is_refused() {
        for text in [
            "ssh://-oProxyCommand=x/a",
            "ssh://git@-oProxyCommand=x/a",
            "-oProxyCommand@h:a",
            "git@h:--upload-pack=x",
            "git://h/--upload-pack=x",
            "https://h/a.git#--upload-pack=x",
            "https://h/a.git?ref=-x",
            "https://h/a.git?ref=a..b",
            "https://h/a.git?ref=a&ref=b",
            "https://h/a.git?what=b",
            "https://h/a.git?submodules=maybe",
            "https://user:word@h/a.git",
            "git://h/a\u{1b}[2J",
            "git://h/a b",
        ] {
            assert!(remote(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_file_is_named_by_its_path_alone() {
        for (url, name) in [
            ("https://h/a/b.tar?x=../../etc", "b.tar"),
            ("https://h/a/b/", "b"),
            ("https://h", "__unnamed__"),
            ("https://h/", "__unnamed__"),
            ("https://h/.", "__unnamed__"),
            ("https://h/a%2Fb%20c", "b c"),
            ("https://h/..%2f..%2fetc%2fpasswd", "passwd"),
        ] {
            assert_eq!(file_name(url).as_deref(), Ok(name), "{url}");
        }
        for url in [
            "https://h/..",
            "https://h/%2e%2e",
            "https://h/a%00",
            "https://h/%ff",
            "https://h/%2",
        ] {
            assert!(file_name(url).is_err(), "{url}");
        }
    }
}
