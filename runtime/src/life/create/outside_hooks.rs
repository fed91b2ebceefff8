//! The hooks of a creation: which of the configuration's it must know of, and those that dhow runs while it
//! makes the container, one after the other. Not its job: the running of one (hooks).

use oci_spec::runtime::Spec;

use sys::log::debug;

use super::Creation;
use crate::Result;
use crate::hooks::{self, HookEntry, Running};
use crate::state::Status;

impl Creation {
    /// Starts the next hook; after the last one the first process goes on.
    pub(super) fn next_hook(&mut self) -> Result<()> {
        let Some((kind, index, hook)) = self.queue.pop_front() else {
            return self.go();
        };
        let state = self
            .record
            .report(Status::Creating)
            .with_pid(self.pid())
            .to_json();
        let running = Running::start(&hook, &self.setting, &state)
            .map_err(|e| hooks::failed(kind, index, &hook, e.to_string()))?;
        self.running = Some((kind, index, hook, running));
        Ok(())
    }

    pub(super) fn advance_hook(&mut self) -> Result<()> {
        let Some((kind, index, hook, mut running)) = self.running.take() else {
            return Ok(());
        };
        match running.finish() {
            None => {
                self.running = Some((kind, index, hook, running));
                Ok(())
            }
            Some(Ok(())) => {
                debug(format_args!("{kind} hook #{index}: done"));
                self.next_hook()
            }
            Some(Err(reason)) => Err(hooks::failed(kind, index, &hook, reason)),
        }
    }
}

/// The hooks of one of the kinds that run after the creation.
pub(super) fn after(spec: &Spec, kind: &str) -> Vec<HookEntry> {
    let Some(hooks) = spec.hooks() else {
        return Vec::new();
    };
    HookEntry::list(match kind {
        "poststart" => hooks.poststart().as_ref(),
        _ => hooks.poststop().as_ref(),
    })
}

/// prestart, then createRuntime hooks: those that run in our own namespaces.
pub(super) fn outside(spec: &Spec) -> Vec<(&'static str, usize, HookEntry)> {
    let Some(hooks) = spec.hooks() else {
        return Vec::new();
    };
    let kinds = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
    ];
    kinds
        .into_iter()
        .flat_map(|(kind, list)| {
            let list = HookEntry::list(list.as_ref());
            list.into_iter()
                .enumerate()
                .map(move |(index, hook)| (kind, index, hook))
        })
        .collect()
}
