//! `restore`: a container whose processes come from a checkpoint. All else is made as `create` makes it, from
//! the bundle that the caller names now, and what the checkpoint made is held against it.
//! Not its job: making it (create/revive).

pub(crate) mod confined;

use crate::life::checkpoint::ImageOptions;
use crate::life::create::Creation;
use crate::life::delete::{Force, clear};
use crate::life::options::CreateOptions;
use crate::life::relay::Terminal;
use crate::life::run::{Manner, Outcome, after, beside};
use crate::{Error, Result};

/// Restores a container; `None` for a detached one.
///
/// # Errors
/// Whatever kept it from going on; nothing is left behind then.
pub fn restore(
    mut options: CreateOptions,
    images: &ImageOptions,
    manner: Manner,
) -> Result<Option<Outcome>> {
    let (store, id) = (options.store.clone(), options.id.clone());
    if manner == Manner::Detached {
        Creation::revive(options, images)?;
        return Ok(None);
    }
    let signals =
        sys::signal::signals_as_fd().map_err(Error::host("take our signals as a descriptor"))?;
    let process = options.spec.process_mut().as_mut();
    let terminal = Terminal::wanted(process, &mut options.console_socket)?;
    let created = Creation::revive(options, images)?;
    let outcome = beside(&created, &signals, terminal);
    let cleared = match (manner, &outcome) {
        (Manner::Keep, Ok(_)) => Ok(Vec::new()),
        _ => clear(&store, &id, Force::Yes, Some(&signals)),
    };
    match outcome {
        Ok(outcome) => cleared.map(|poststop| {
            Some(Outcome {
                poststop,
                ..outcome
            })
        }),
        Err(error) => Err(after(error, cleared)),
    }
}
