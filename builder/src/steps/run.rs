//! RUN: its key, and the tree before and after the command. Not its job: the command's container.

use image::Layer;

use crate::cache::Outcome;
use crate::error::{Doing, Result};
use crate::instruction::Security;
use crate::layers::root;
use crate::plan::RunStep;
use crate::steps::chown::Owners;
use crate::steps::{container, mounting, spec};
use crate::stubs::Stubs;
use crate::work::Work;
use crate::worker::Message;

/// Runs the command, unless that was done before.
pub(crate) fn run(work: &Work<'_>, layers: &[Layer], step: &RunStep) -> Result<Outcome> {
    let mut key = work.key("run", layers);
    key.add("args", json(&step.args));
    key.add("env", json(step.env.as_ref()));
    key.add("cwd", step.cwd.as_str());
    key.add("user", step.user.as_str());
    key.add("network", format!("{:?}", step.network));
    if step.security != Security::default() {
        key.add("security", format!("{:?}", step.security));
    }
    if let Some(hostname) = &step.hostname {
        key.add("hostname", hostname.as_str());
    }
    if let Some((name, content)) = &step.script {
        key.add("script", json(&[name, content]));
    }
    let taken = mounting::take(work, step, &mut key)?;
    work.once(&key, layers, |mount, scratch| {
        let stubs = Stubs::before(&root(mount)?, &mounting::targets(step))?;
        let folder = scratch.upper.with_file_name("made");
        let mounts = mounting::make(work, step, &taken, &folder)?;
        if let Some(text) = spec::uncounted(&work.options.limits) {
            work.voice.say(&Message::Warning(text));
        }
        // While the container is there, a signal ends it before us.
        let signals = sys::signal::signals_as_fd().doing(|| "take our signals".to_owned())?;
        let owners = Owners::new(&folder, mount, layers, scratch)?;
        let place = container::Place {
            folder,
            state: &work.options.state,
            signals: &signals,
            limits: &work.options.limits,
            owners: owners.as_ref(),
        };
        let result = container::run(mount, step, (&place, mounts), &mut |bytes| {
            work.voice.print(bytes)
        });
        sys::signal::unblock_all();
        result?;
        if let Some(owners) = &owners {
            owners.settle()?;
        }
        Ok(Some(stubs))
    })
}

/// Strings as JSON: no two lists give the same text.
fn json<S: AsRef<str>>(list: &[S]) -> String {
    let list: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    serde_json::json!(list).to_string()
}
