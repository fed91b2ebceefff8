//! The working directory of a process of the container. Not its job: when it is entered (plan).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sys::{Errno, SysError};

use super::Life;

impl Life {
    /// Goes there if root may; whether its user may is seen later.
    pub(super) fn change_directory(&mut self, path: &Path) -> Result<(), SysError> {
        self.cwd = Some(c_path(path)?);
        self.try_working_directory()
    }

    /// Makes the directory where it is missing, inside the root, and goes there if root may.
    pub(super) fn working_directory(&mut self, path: &Path) -> Result<(), SysError> {
        let path_c = c_path(path)?;
        let fail = |e: SysError| SysError {
            subject: path.display().to_string(),
            ..e
        };
        self.root()?.create_dir_all(path, 0o755).map_err(fail)?;
        self.cwd = Some(path_c);
        Ok(())
    }

    /// The user's rights count for the working directory, but root's do too: a home of mode 0700 on a
    /// volume is usable either way (runc tries both).
    pub(super) fn enter_working_directory(&self) -> Result<(), SysError> {
        let Some(path) = &self.cwd else { return Ok(()) };
        sys::process::change_dir(path)?;
        let here = sys::process::current_dir()?;
        if here.to_bytes().starts_with(b"/") || sys::fault::broken("no-cwd-check") {
            return Ok(());
        }
        // The kernel says "(unreachable)" of a place outside of our root (CVE-2024-21626).
        let text = path.to_string_lossy();
        Err(SysError::new("chdir", text, Errno::PERM).with_note("it lies outside of the container"))
    }

    /// Root's try; the user's comes after the drop, when this one was refused.
    pub(super) fn try_working_directory(&mut self) -> Result<(), SysError> {
        match self.enter_working_directory() {
            Ok(()) => self.cwd = None,
            Err(e) if e.errno == Errno::ACCESS => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

fn c_path(path: &Path) -> Result<CString, SysError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| SysError::new("chdir", path.display(), Errno::INVAL))
}
