//! Debian's docker-registry on a free port of this machine, with storage of its own. Not its job: what is in it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::command::wait_for;

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Registry {
    /// Without TLS and without users.
    pub(crate) fn plain() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "", "")
    }

    /// With more lines below `http:` and behind everything; the folder may hold what they name.
    pub(crate) fn start(folder: tempfile::TempDir, http: &str, more: &str) -> Self {
        let (config, log) = (folder.path().join("config.yml"), folder.path().join("log"));
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:0\n{http}{more}",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let out = std::fs::File::create(&log).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            // Its traces go nowhere.
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut registry = Self {
            child,
            folder,
            address: String::new(),
        };
        registry.address = wait_for("the registry's port", Duration::from_secs(30), || {
            let text = std::fs::read_to_string(&log).unwrap();
            let (_, rest) = text.split_once("listening on 127.0.0.1:")?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let ended = rest.len() > digits;
            ended.then(|| format!("127.0.0.1:{}", &rest[..digits]))
        });
        registry
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The name of an image there.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Where it keeps the layers of an image that dhow inspected.
    pub(crate) fn layers(&self, inspected: &serde_json::Value) -> Vec<PathBuf> {
        let layers = inspected["Layers"].as_array().unwrap();
        let digests = layers.iter().map(|layer| layer["Digest"].as_str().unwrap());
        digests.map(|digest| self.blob(digest)).collect()
    }

    /// Where it keeps a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self
            .folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
