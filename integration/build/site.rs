//! Where builds are tried: a store of its own, contexts, and a base image of static busybox. Not its job: claims.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, run};

/// A sandbox with a store, and the image `base`: busybox and all its names.
pub(crate) struct Site {
    pub(crate) sandbox: Sandbox,
}

/// Its recipe.
pub(super) const BASE: &str = "FROM scratch
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox mkdir -p /usr/bin /sbin /usr/sbin /tmp /root && /bin/busybox chmod 1777 /tmp && /bin/busybox --install -s\"]
COPY <<passwd <<group /etc/
root:x:0:0:root:/root:/bin/sh
user:x:1000:1001:a user:/home/user:/bin/sh
passwd
root:x:0:
user:x:1001:
staff:x:50:user
group
CMD [\"sh\"]
";

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            sandbox: Sandbox::new(),
        };
        std::fs::create_dir(site.folder().join("base")).unwrap();
        let busybox = crate::support::needs::program("busybox").expect("busybox-static is set up");
        std::fs::copy(busybox, site.folder().join("base/busybox")).unwrap();
        std::fs::write(site.folder().join("base/Dockerfile"), BASE).unwrap();
        site.build(&["-t", "base", "base"]).success();
        site
    }

    /// A site without a base image.
    pub(crate) fn bare() -> Self {
        Self {
            sandbox: Sandbox::new(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.sandbox.path()
    }

    /// A context `name` with this recipe.
    pub(crate) fn context(&self, name: &str, recipe: &str) -> PathBuf {
        let folder = self.folder().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), recipe).unwrap();
        folder
    }

    /// dhow on this site's store, in its folder.
    pub(crate) fn dhow(&self) -> Command {
        let mut command = Command::new(dhow());
        command
            .current_dir(self.folder())
            .env_remove("SOURCE_DATE_EPOCH")
            .arg("--root")
            .arg(self.sandbox.state_root())
            .arg("--store")
            .arg(self.folder().join("store"));
        command
    }

    /// Builds. Commands get no way out unless the arguments say so: few claims are about networks.
    #[track_caller]
    pub(crate) fn build(&self, arguments: &[&str]) -> Output {
        let mut command = self.dhow();
        command.arg("build").args(arguments);
        if !arguments.iter().any(|a| a.starts_with("--network")) {
            command.arg("--network=none");
        }
        run(&mut command)
    }

    /// Builds a recipe on its own and gives the image's id.
    #[track_caller]
    pub(crate) fn image(&self, name: &str, recipe: &str) -> String {
        self.context(name, recipe);
        self.build(&["-q", "-t", name, name]).success().stdout
    }

    /// What a shell script prints in a container of the image.
    #[track_caller]
    pub(crate) fn inside(&self, image: &str, script: &str) -> String {
        run(self.dhow().args(["run", "--rm", image, "sh", "-c", script]))
            .success()
            .stdout
    }
}
