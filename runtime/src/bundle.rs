//! A bundle on disk: config.json read and understood. Not its job: judging what it says (validate).

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result, repair};

/// The largest config.json taken; one with every field and a thousand mounts has 300 KiB.
pub(crate) const MAX_CONFIG: u64 = 16 << 20;

/// A bundle: its folder and what its configuration says.
#[derive(Debug)]
pub struct Bundle {
    /// The absolute path of the folder.
    pub path: PathBuf,
    /// The configuration.
    pub spec: Spec,
}

impl Bundle {
    /// Reads the bundle in `path`; `config` is another configuration file than its config.json.
    ///
    /// # Errors
    /// [`Error::Config`] with file, JSON path, line and column for what can't be understood.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self> {
        let path = sys::file::canonical(path).map_err(Error::host("bundle"))?;
        let file = match config {
            Some(config) => path.join(config),
            None => path.join("config.json"),
        };
        let bytes =
            sys::file::read(&file, MAX_CONFIG).map_err(Error::host("read the configuration"))?;
        let spec = parse(&file, &bytes)?;
        Ok(Self { path, spec })
    }

    /// The configuration that the `bytes` of `file` hold.
    ///
    /// # Errors
    /// [`Error::Config`], as [`Bundle::open`].
    pub fn understand(file: &Path, bytes: &[u8]) -> Result<Spec> {
        parse(file, bytes)
    }

    /// The container's root folder as the configuration names it, below the bundle if it is relative.
    pub fn root(&self) -> PathBuf {
        match self.spec.root() {
            Some(root) => self.path.join(root.path()),
            None => self.path.join("rootfs"),
        }
    }
}

/// A process as `exec --process` takes it: the `process` of a configuration in a file of its own.
///
/// # Errors
/// As [`Bundle::open`].
pub fn process(file: &Path) -> Result<Process> {
    let bytes = sys::file::read(file, MAX_CONFIG).map_err(Error::host("read the process"))?;
    understand(file, &bytes, |mut value| {
        repair::process(&mut value)?;
        Some(value)
    })
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Spec> {
    let spec = understand(file, bytes, |mut value| {
        repair::process(value.get_mut("process")?)?;
        Some(value)
    })?;
    let spec = repair::without_empty_pids(spec, bytes);
    Ok(crate::annotations::with_receiver(spec))
}

/// Understands a file. The quick way first; only when it fails, the slow one that repairs what other
/// runtimes accept and else names the place.
fn understand<T: DeserializeOwned>(
    file: &Path,
    bytes: &[u8],
    repair: impl FnOnce(Value) -> Option<Value>,
) -> Result<T> {
    let first = match serde_json::from_slice(bytes) {
        Ok(understood) => return Ok(understood),
        Err(first) => first,
    };
    let repaired = serde_json::from_slice(bytes).ok().and_then(repair);
    let understood = match repaired {
        Some(value) => serde_path_to_error::deserialize(value).map_err(|e| at(&e)),
        None => Err(place::<T>(bytes, &first)),
    };
    understood.map_err(|reason| Error::Config {
        path: file.to_owned(),
        reason,
    })
}

/// `process.args: invalid type: string "sh", expected a sequence (line 5, column 20)`.
fn place<T: DeserializeOwned>(bytes: &[u8], first: &serde_json::Error) -> String {
    if first.is_syntax() || first.is_eof() {
        return format!("not valid JSON: {}", with_place(&first.to_string()));
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(reader) {
        Err(error) => at(&error),
        Ok(_) => with_place(&first.to_string()),
    }
}

fn at(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let reason = with_place(&error.inner().to_string());
    match error.path().iter().next() {
        Some(_) => format!("{}: {reason}", error.path()),
        None => reason,
    }
}

/// serde's ` at line 5 column 20` as a remark at the end.
fn with_place(message: &str) -> String {
    match message.rsplit_once(" at line ") {
        Some((text, place)) => format!("{text} (line {})", place.replace(" column", ", column")),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(Path::new("config.json"), text.as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_wrong_type_is_named_with_its_json_path_and_place() {
        assert_eq!(
            fault(
                r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":"sh"}}"#
            ),
            "config.json: process.args: invalid type: string \"sh\", expected a sequence (line 1, column 79)"
        );
    }

    #[test]
    fn a_file_cut_short_is_named_with_its_place() {
        assert_eq!(
            fault("{\"ociVersion\":\"1.0.0\",\n\"process\":{"),
            "config.json: not valid JSON: EOF while parsing an object (line 2, column 11)"
        );
    }

    #[test]
    fn a_process_without_what_it_needs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        let fd = sys::file::open_dir(dir.path()).unwrap();
        let read = |text: &str| {
            let how = sys::file::Durability::Memory;
            sys::file::replace(&fd, "p.json", text.as_bytes(), 0o600, how).unwrap();
            process(&path).map_err(|e| e.to_string().rsplit_once("p.json: ").unwrap().1.to_owned())
        };
        assert_eq!(
            read(r#"{"args":["x"]}"#).unwrap_err(),
            "missing field `cwd`"
        );
        assert_eq!(
            read(r#"{"cwd":"/","args":"x"}"#).unwrap_err(),
            "args: invalid type: string \"x\", expected a sequence"
        );
        assert_eq!(read(r#"{"cwd":"/","args":["x"]}"#).unwrap().user().uid(), 0);
    }
}
