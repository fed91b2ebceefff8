//! Files that are there whole or not at all: they get their name when they are written. Not its job: what is in them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::report::{Failure, because};

type Out = BufWriter<File>;

/// Makes the file `path` of what `fill` writes, in place of one that may be there. A device or what a process has open
/// (/dev/stdout) is written to.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(stream) = sys::file::open_stream(path).map_err(because)? {
        return filled(stream, fill).map(drop);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match sys::file::nameless(folder, 0o644).map_err(because)? {
        Some(file) => {
            let file = filled(file, fill)?;
            // Its name is always the same: what a kill may leave there is whole, and the next one takes it away.
            sys::file::name(&file, path, beside(path, "part")).map_err(because)
        }
        None => by_another_name(path, fill),
    }
}

/// The same where every file has a name.
fn by_another_name(
    path: &Path,
    fill: impl FnOnce(&mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let part = beside(path, &format!("{}.part", std::process::id()));
    let file = sys::file::create_new(&part, 0o644).map_err(because)?;
    let written = filled(file, fill).and_then(|_| sys::file::rename(&part, path).map_err(because));
    if written.is_err() {
        // The first failure is the one that counts.
        let _left_over = sys::file::remove_file(&part);
    }
    written
}

fn filled(file: File, fill: impl FnOnce(&mut Out) -> Result<(), Failure>) -> Result<File, Failure> {
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    fill(&mut out)?;
    out.into_inner().map_err(|e| because(e.into_error()))
}

/// `.NAME.END` in the same folder.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{end}"));
    path.with_file_name(name)
}
