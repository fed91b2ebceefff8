//! What happens in a build, as lines on stderr. Not its job: the build.

use std::io::Write as _;

use builder::Event;

use crate::report::visible;

/// Shows one event.
pub(super) fn show(event: &Event<'_>) {
    match event {
        Event::Warning(text) => eprintln!("warning: {}", visible(text)),
        Event::Pull(name) => eprintln!("pull {}", visible(name)),
        Event::Step {
            number,
            total,
            stage,
            text,
        } => {
            let stage = stage.map(|stage| format!("{stage} ")).unwrap_or_default();
            eprintln!("[{stage}{number}/{total}] {}", visible(text));
        }
        Event::Cached { .. } => eprintln!("  cached"),
        Event::Done { .. } | Event::Failed { .. } => {}
        Event::Output { bytes, .. } => {
            // Programs that redraw a line of a terminal write many lines of a log.
            let text = String::from_utf8_lossy(bytes)
                .replace("\r\n", "\n")
                .replace('\r', "\n");
            let text = visible(&text);
            // Who closed our stderr does not want to see it.
            let _closed = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
