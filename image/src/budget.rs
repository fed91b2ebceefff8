//! How much a blob may inflate to, and a whole image come to: who sends a kilobyte must not fill a disk.
//! Not its job: what one tar may hold (`layer/entry.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layer::entry::Limits;
use crate::{Error, Result};

/// What inflates to more than this, and to more than so many times its length, is a bomb: zeros reach
/// 230 with gzip -1 and 1,030 with gzip -9, a layer of honest files 3 to 20.
const BOMB_BYTES: u64 = 1 << 30;
const BOMB_RATIO: u64 = 100;

/// All layers of one image together.
const IMAGE_BYTES: u64 = 128 << 30;
const IMAGE_ENTRIES: u64 = 8 << 20;

/// How many bytes something compressed, of `length` bytes, may inflate to.
pub(crate) fn most(length: u64) -> u64 {
    let most = match sys::fault::broken("no-bomb-limit") {
        true => u64::MAX,
        false => BOMB_BYTES.max(length.saturating_mul(BOMB_RATIO)),
    };
    most.min(Limits::default().bytes)
}

/// What the layers of one image may take together, from several threads.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: Share,
    entries: Share,
}

#[derive(Debug)]
struct Share {
    most: u64,
    left: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(IMAGE_BYTES, IMAGE_ENTRIES)
    }
}

impl Budget {
    pub(crate) fn new(bytes: u64, entries: u64) -> Self {
        let share = |most| Share {
            most,
            left: AtomicU64::new(most),
        };
        Self {
            bytes: share(bytes),
            entries: share(entries),
        }
    }

    /// Takes bytes of a tar.
    pub(crate) fn bytes(&self, count: u64) -> Result<()> {
        self.bytes.take(count, "bytes")
    }

    /// Takes one entry.
    pub(crate) fn entry(&self) -> Result<()> {
        self.entries.take(1, "entries")
    }
}

impl Share {
    fn take(&self, count: u64, unit: &str) -> Result<()> {
        let less = |left: u64| left.checked_sub(count);
        let order = Ordering::Relaxed;
        match self.left.fetch_update(order, order, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::refused(
                "the image",
                format!("its layers hold more than {} {unit}", self.most),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_blob_may_hold_a_large_layer_but_not_any() {
        assert_eq!(most(100), 1 << 30);
        assert_eq!(most(1 << 28), 100 << 28);
        assert_eq!(most(u64::MAX), 64 << 30);
    }

    #[test]
    fn a_budget_is_for_all_layers_together() {
        let budget = Budget::new(100, 2);
        budget.bytes(60).unwrap();
        budget.bytes(40).unwrap();
        assert_eq!(
            budget.bytes(1).unwrap_err().to_string(),
            "the image: its layers hold more than 100 bytes"
        );
        budget.entry().unwrap();
        budget.entry().unwrap();
        assert_eq!(
            budget.entry().unwrap_err().to_string(),
            "the image: its layers hold more than 2 entries"
        );
    }
}
