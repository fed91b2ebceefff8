//! Large windows, one at a time in this process: whoever inflates needs as much memory as the window of the stream, and
//! several layers at once must not need several times that. Not its job: finding out how large a window is.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::Result;

/// Windows up to this are for whoever wants one.
pub(super) const SMALL: u64 = 8 << 20;

/// Asked before a stream waits for its turn at a large window. Whoever has the turn keeps it to the end of its stream,
/// so it must not wait for anybody who may want one: a layer waits here for those below it.
pub(crate) type Ready<'a> = dyn Fn() -> Result<()> + Sync + 'a;

static TAKEN: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// The right to a large window, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {}

impl Turn {
    /// Waits until nobody else has it.
    pub(super) fn wait(ready: &Ready<'_>) -> Result<Self> {
        ready()?;
        if !sys::fault::broken("no-window-turn") {
            let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = FREE.wait_while(taken, |taken| *taken);
            *waited.unwrap_or_else(PoisonError::into_inner) = true;
        }
        Ok(Self {})
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn nobody_has_a_turn_beside_another() {
        let at_once = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = Turn::wait(&|| Ok(())).unwrap();
                        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        at_once.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn who_is_not_ready_takes_no_turn() {
        let stopped = Turn::wait(&|| Err(crate::Error::Stopped));
        assert!(matches!(stopped, Err(crate::Error::Stopped)));
        drop(Turn::wait(&|| Ok(())).unwrap());
    }
}
