//! How far a transfer has come, on one line of a terminal that is written anew. Where stderr is no
//! terminal there is nothing. Not its job: the transfer.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use image::{Event, Watch};

/// The line is not written more often.
const PAUSE: Duration = Duration::from_millis(100);

/// The bar between its brackets.
const WIDTH: u64 = 30;

/// A transfer that somebody may be looking at.
pub(crate) struct Progress {
    line: Option<Arc<Mutex<Line>>>,
}

#[derive(Debug)]
struct Line {
    what: String,
    layers: usize,
    total: u64,
    done: u64,
    /// Bytes that were put aside before anybody knew of layers.
    spooled: u64,
    begun: Instant,
    written: Option<Instant>,
}

impl Progress {
    /// Begins; `what` is said in front.
    pub(crate) fn begin(what: &str, quiet: bool) -> Self {
        let seen = !quiet && std::io::stderr().is_terminal();
        let line = seen.then(|| {
            Arc::new(Mutex::new(Line {
                what: what.to_owned(),
                layers: 0,
                total: 0,
                done: 0,
                spooled: 0,
                begun: Instant::now(),
                written: None,
            }))
        });
        Self { line }
    }

    /// Whom to tell.
    pub(crate) fn watch(&self) -> Watch {
        let Some(line) = self.line.clone() else {
            return Arc::new(|_| {});
        };
        Arc::new(move |event| {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            line.take(event);
            let due = line
                .written
                .is_none_or(|written| written.elapsed() >= PAUSE);
            if due {
                line.written = Some(Instant::now());
                // Who looks may be gone; the transfer goes on.
                let _unseen = write!(
                    std::io::stderr(),
                    "\r{}\x1b[K",
                    line.text(line.begun.elapsed())
                );
            }
        })
    }

    /// Takes the line away: what became of it is said in words.
    pub(crate) fn end(self) {
        if self.line.is_some() {
            let _unseen = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Line {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Spooled(bytes) => self.spooled += bytes,
            Event::Begin { size } => {
                self.layers += 1;
                self.total += size;
            }
            Event::Passed(bytes) => self.done += bytes,
        }
    }

    fn text(&self, since: Duration) -> String {
        let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
        if self.layers == 0 && self.spooled > 0 {
            return format!("{} {} MB", self.what, tenths(self.spooled));
        }
        let done = self.done.min(self.total);
        let filled = (done * WIDTH).checked_div(self.total).unwrap_or(0);
        let bar: String = (0..WIDTH)
            .map(|at| if at < filled { '=' } else { ' ' })
            .collect();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let speed = tenths(self.done.saturating_mul(1000) / millis);
        format!(
            "{} [{bar}] {} of {} MB, {} layers, {speed} MB/s",
            self.what,
            tenths(done),
            tenths(self.total),
            self.layers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let mut line = Line {
            what: "pull debian:12".to_owned(),
            layers: 0,
            total: 0,
            done: 0,
            spooled: 0,
            begun: Instant::now(),
            written: None,
        };
        let second = Duration::from_secs(1);
        assert!(line.text(second).contains("0.0 of 0.0 MB, 0 layers"));
        line.take(&Event::Spooled(1_250_000));
        assert_eq!(line.text(second), "pull debian:12 1.2 MB");
        let size = 40_000_000;
        line.take(&Event::Begin { size });
        line.take(&Event::Passed(10_000_000));
        assert_eq!(
            line.text(4 * second),
            "pull debian:12 [=======                       ] 10.0 of 40.0 MB, 1 layers, 2.5 MB/s"
        );
    }
}
