//! The container's program: found as a shell would, and explained when the kernel refuses it. It runs in
//! the container's first process, with the container's root as its root: plain paths are right here.
//! Not its job: running it (process/init).

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sys::{Errno, SysError};

/// The longest `#!` line that the kernel reads (BINPRM_BUF_SIZE).
const HEAD: usize = 256;

/// Finds `name`: as it is if it holds a slash, else along `search` (the value of PATH).
///
/// # Errors
/// ENOENT, or EACCES if only files that can't be executed have the name.
pub(crate) fn find(name: &str, search: Option<&str>) -> Result<CString, SysError> {
    let fail = |errno, note: &str| SysError::new("exec", name, errno).with_note(note);
    if name.is_empty() {
        return Err(fail(Errno::NOENT, "the program's name is empty"));
    }
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => c_string(Path::new(name)),
            Err((errno, note)) => Err(fail(errno, &note)),
        };
    }
    let mut refusal = None;
    for dir in search
        .unwrap_or_default()
        .split(':')
        .filter(|dir| !dir.is_empty())
    {
        let path = Path::new(dir).join(name);
        match check(&path) {
            Ok(()) => return c_string(&path),
            Err((Errno::ACCESS, note)) => refusal = Some(format!("{}: {note}", path.display())),
            Err(_) => {}
        }
    }
    match (refusal, search) {
        (Some(note), _) => Err(fail(Errno::ACCESS, &note)),
        (None, None) => Err(fail(
            Errno::NOENT,
            "executable file not found in $PATH, for PATH is not set",
        )),
        (None, Some(_)) => Err(fail(Errno::NOENT, "executable file not found in $PATH")),
    }
}

fn c_string(path: &Path) -> Result<CString, SysError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| SysError::new("find", path.display(), Errno::INVAL))
}

/// Whether `path` is a regular file with an execute bit that counts for us.
fn check(path: &Path) -> Result<(), (Errno, String)> {
    let metadata = match sys::file::follow(path) {
        Ok(metadata) => metadata,
        Err(e) => return Err((e.errno, "no such file in the container".to_owned())),
    };
    if metadata.is_dir() {
        return Err((Errno::ACCESS, "it is a directory".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let mode = metadata.mode() & 0o7777;
        return Err((
            Errno::ACCESS,
            format!("it is not executable (mode {mode:04o})"),
        ));
    }
    Ok(())
}

/// The kernel's refusal to execute `path`, with the reason that its errno alone does not tell:
/// a missing interpreter or loader, a foreign architecture, a file that is no program.
pub(crate) fn explain(path: &CString, error: SysError) -> SysError {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
    match reason(&path, error.errno) {
        Some(note) => error.with_note(note),
        None => error,
    }
}

fn reason(path: &Path, errno: Errno) -> Option<String> {
    let file = sys::file::open(path).ok()?;
    let mut head = [0_u8; HEAD];
    let length = file.read_at(&mut head, 0).ok()?;
    let head = &head[..length];
    match errno {
        Errno::NOENT | Errno::ACCESS if head.starts_with(b"#!") => script(head, errno),
        Errno::NOENT if head.starts_with(b"\x7fELF") => {
            let loader = loader(&file, head)?;
            Some(format!("its loader {loader} is missing in the container"))
        }
        Errno::NOEXEC if head.is_empty() => Some("the file is empty".to_owned()),
        Errno::NOEXEC if head.starts_with(b"\x7fELF") => Some(format!(
            "it is a program for another machine ({}), this one is {}",
            machine(head),
            std::env::consts::ARCH
        )),
        Errno::NOEXEC => {
            Some("it is neither an ELF program nor a script with a #! line".to_owned())
        }
        Errno::ACCESS => {
            Some("the file system is mounted noexec, or the user may not execute it".to_owned())
        }
        _ => None,
    }
}

fn script(head: &[u8], errno: Errno) -> Option<String> {
    let line = head[2..].split(|b| *b == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let interpreter = line.split([' ', '\t']).find(|word| !word.is_empty())?;
    if interpreter.ends_with('\r') {
        return Some(
            "its #! line ends with a carriage return (the file has Windows line ends)".to_owned(),
        );
    }
    match check(Path::new(interpreter)) {
        Err((Errno::NOENT, _)) => Some(format!(
            "its interpreter {interpreter} is missing in the container"
        )),
        Err((_, note)) => Some(format!(
            "its interpreter {interpreter} can't be used: {note}"
        )),
        Ok(()) if errno == Errno::NOENT => Some(format!(
            "the loader of its interpreter {interpreter} is missing"
        )),
        Ok(()) => None,
    }
}

/// The dynamic loader that an ELF file of 64 bits names (PT_INTERP).
fn loader(file: &File, head: &[u8]) -> Option<String> {
    const PT_INTERP: u32 = 3;
    let is_64_bit_little_endian = head.get(4..6)? == [2, 1];
    if !is_64_bit_little_endian {
        return None;
    }
    let table = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let count = u16::from_le_bytes(head.get(56..58)?.try_into().ok()?);
    for index in 0..u64::from(count.min(64)) {
        let mut entry = [0_u8; 56];
        file.read_exact_at(&mut entry, table.checked_add(index * 56)?)
            .ok()?;
        if u32::from_le_bytes(entry[0..4].try_into().ok()?) == PT_INTERP {
            let offset = u64::from_le_bytes(entry[8..16].try_into().ok()?);
            let size = u64::from_le_bytes(entry[32..40].try_into().ok()?).min(4096);
            let mut name = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut name, offset).ok()?;
            let name = name.split(|b| *b == 0).next()?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    None
}

fn machine(head: &[u8]) -> String {
    let number = head
        .get(18..20)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    match number {
        3 => "x86".to_owned(),
        8 => "mips".to_owned(),
        21 => "powerpc64".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        other => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_program_is_found_along_path_and_a_miss_says_so() {
        assert_eq!(
            find("sh", Some("/nope:/bin")).unwrap().to_str().unwrap(),
            "/bin/sh"
        );
        let error = find("nope-at-all", Some("/bin")).unwrap_err();
        assert_eq!(error.note.unwrap(), "executable file not found in $PATH");
    }

    #[test]
    fn a_file_without_the_right_mode_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "p", b"x", 0o644);
        let error = find(path.to_str().unwrap(), None).unwrap_err();
        assert_eq!(
            (error.errno, error.note.unwrap().as_str()),
            (Errno::ACCESS, "it is not executable (mode 0644)")
        );
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "s", b"#! /no/such/sh -e\n", 0o755);
        assert_eq!(
            reason(&path, Errno::NOENT).unwrap(),
            "its interpreter /no/such/sh is missing in the container"
        );
        let path = file(dir.path(), "w", b"#!/bin/sh\r\necho\r\n", 0o755);
        assert!(
            reason(&path, Errno::NOENT)
                .unwrap()
                .contains("carriage return")
        );
    }

    #[test]
    fn the_loader_of_a_dynamic_program_is_found() {
        let sh = std::fs::canonicalize("/bin/sh").unwrap();
        let text = reason(&sh, Errno::NOENT).unwrap();
        assert!(text.contains("/ld-linux"), "{text}");
    }

    #[test]
    fn a_foreign_or_plain_file_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "t", b"echo hi\n", 0o755);
        assert!(
            reason(&path, Errno::NOEXEC)
                .unwrap()
                .contains("neither an ELF program")
        );
        let mut elf = vec![0_u8; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18] = 183;
        let path = file(dir.path(), "e", &elf, 0o755);
        assert!(reason(&path, Errno::NOEXEC).unwrap().contains("aarch64"));
    }
}
