//! Files that are there whole or not at all: written under another name first. Not its job: what is in them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::report::{Failure, because};

/// Makes the file `path` of what `fill` writes, in place of one that may be there.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let file = sys::file::create_new(&part, 0o644).map_err(because)?;
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    let written = fill(&mut out)
        .and_then(|()| out.flush().map_err(because))
        .and_then(|()| sys::file::rename(&part, path).map_err(because));
    if written.is_err() {
        // The first failure is the one that counts.
        let _left_over = sys::file::remove_file(&part);
    }
    written
}
