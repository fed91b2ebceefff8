//! What happens while an image comes or goes, for those who look on. Not its job: showing it.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::Result;
use crate::source::Blob;

/// What happens while an image comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// So many bytes of an archive have been put aside, of which nobody knows yet what is in it.
    Spooled(u64),
    /// A layer begins.
    Begin {
        /// Its bytes: those of its blob, or of its tar where that is what goes.
        size: u64,
    },
    /// So many bytes of layers have come or gone.
    Passed(u64),
}

/// Is told of events, from any thread.
pub type Watch = Arc<dyn Fn(&Event) + Send + Sync>;

/// A stream of which somebody is told.
pub(crate) struct Watched<R> {
    pub(crate) inner: R,
    pub(crate) watch: Watch,
    /// What to say of so many bytes.
    pub(crate) say: fn(u64) -> Event,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.watch)(&(self.say)(count as u64));
        Ok(count)
    }
}

/// A blob of which somebody is told when it is read.
pub(crate) struct WatchedBlob {
    inner: Arc<dyn Blob>,
    watch: Watch,
}

impl WatchedBlob {
    pub(crate) fn of(inner: Arc<dyn Blob>, watch: Watch) -> Arc<dyn Blob> {
        Arc::new(Self { inner, watch })
    }
}

impl fmt::Debug for WatchedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Blob for WatchedBlob {
    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        let inner = self.inner.open()?;
        (self.watch)(&Event::Begin {
            size: self.length(),
        });
        Ok(Box::new(Watched {
            inner,
            watch: Arc::clone(&self.watch),
            say: Event::Passed,
        }))
    }
}
