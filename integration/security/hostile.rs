//! The hostile program: hostile.c, compiled once and put into a container's root. Not its job: what it is to do there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Bundle, run};

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/integration/security/hostile.c"
);

/// Where the compiled program lies.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        let time = |path: &Path| {
            std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok()
        };
        if time(&made) >= time(Path::new(SOURCE)) {
            return made;
        }
        // Renamed into place: other test programs may be running the old one.
        let fresh = made.with_extension(std::process::id().to_string());
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-O1", "-Wall", "-pthread", SOURCE, "-o"])
            .arg(&fresh);
        run(&mut gcc).success();
        std::fs::rename(&fresh, &made).unwrap();
        made
    })
}

/// Puts it into the bundle's root as /bin/hostile.
pub(super) fn put_into(bundle: &Bundle) {
    crate::support::copy_program(program(), bundle.rootfs().join("bin/hostile"));
}
