//! A creation that fails: the reason in words, and all that was made taken back.
//! Not its job: a crash of our own (delete goes by the record).

use sys::process::Exit;

use super::Creation;
use crate::Error;
use crate::life::cgroup;
use crate::process::parent;

impl Creation {
    /// The first process closed its end and said nothing: it was killed.
    pub(super) fn ended(&mut self) -> Error {
        let exit = self
            .born
            .as_ref()
            .map(|born| sys::process::wait(&born.process.pidfd));
        let mut cause = match exit {
            Some(Ok(Exit::Signal(signal))) => format!("killed by signal {signal}"),
            Some(Ok(Exit::Status(status))) => format!("exit status {status}"),
            _ => "unknown".to_owned(),
        };
        if let Some(Ok(Some(count @ 1..))) =
            self.cgroup.as_ref().map(|made| made.cgroup.oom_kills())
        {
            cause =
                format!("out of memory: the cgroup's memory limit is too small ({count} killed)");
        }
        Error::Ended { cause }
    }

    /// Takes back all that was made. The first error wins; what fails here follows as notes.
    pub fn undo(mut self, error: Error) -> Error {
        let mut notes = Vec::new();
        if let Some((_, _, _, running)) = self.running.take() {
            running.abandon();
        }
        if let Some(made) = &self.cgroup
            && let Err(e) = made.cgroup.kill()
        {
            notes.push(crate::error::chain(&e));
        }
        if let Some(born) = &self.born {
            parent::kill(&born.process);
        }
        if let (Some(_), Some(directory)) = (&self.cgroup, &self.record.cgroup)
            && let Err(e) = cgroup::remove(
                directory,
                self.record.cgroup_made_from.as_deref(),
                self.record.unit.as_ref(),
            )
        {
            notes.push(crate::error::chain(&e));
        }
        if let Err(e) = crate::rdt::remove(&self.record.rdt) {
            notes.push(crate::error::chain(&e));
        }
        if let Err(e) = crate::life::delete::remove_scratch(&self.record) {
            notes.push(crate::error::chain(&e));
        }
        if self.born.is_some() {
            // runtime.md: a start that fails goes on with the container's destruction.
            let failed = crate::life::delete::run_poststop(&self.record, None);
            notes.extend(failed.iter().map(|e| crate::error::chain(e)));
        }
        if self.ready
            && let Some(path) = &self.pid_file
            && let Err(e) = sys::file::remove_file(path)
        {
            notes.push(e.to_string());
        }
        if let Err(e) = self.place.remove() {
            notes.push(crate::error::chain(&e));
        }
        if notes.is_empty() {
            error
        } else {
            Error::AndThen {
                first: Box::new(error),
                notes,
            }
        }
    }
}
