//! What is known of a step while it is shown. Not its job: how it is shown.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::report::{unbroken, visible};

/// Lines of a running step that are kept.
const KEPT: usize = 6;

/// More of one line is not kept.
const LONGEST: usize = 4096;

/// A step that has begun.
#[derive(Debug)]
pub(super) struct Step {
    /// `[stage 2/7] RUN make`
    pub(super) title: String,
    pub(super) began: Instant,
    pub(super) cached: bool,
    /// Why it was not cached, if somebody asked.
    pub(super) why: Vec<String>,
    /// The last whole lines of its output, and what follows them.
    pub(super) lines: VecDeque<String>,
    pub(super) rest: Vec<u8>,
    /// The last byte was `\r`: with `\n` behind it, it is one end of a line.
    returned: bool,
}

impl Step {
    pub(super) fn new(number: usize, total: usize, stage: Option<&str>, text: &str) -> Self {
        let stage = stage.map(|stage| format!("{stage} ")).unwrap_or_default();
        Self {
            title: one_line(&format!("[{stage}{number}/{total}] {text}")),
            began: Instant::now(),
            cached: false,
            why: Vec::new(),
            lines: VecDeque::new(),
            rest: Vec::new(),
            returned: false,
        }
    }

    /// Takes output; gives the lines that it completes, escaped. What programs write to redraw a line
    /// (`\r`) makes lines too.
    pub(super) fn output(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.returned => {}
                b'\n' | b'\r' => {
                    if !self.rest.is_empty() || *byte == b'\n' {
                        whole.push(shown(&self.rest));
                    }
                    self.rest.clear();
                }
                byte if self.rest.len() < LONGEST => self.rest.push(*byte),
                _ => {}
            }
            self.returned = *byte == b'\r';
        }
        self.lines
            .extend(whole.iter().filter(|line| !line.is_empty()).cloned());
        let surplus = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..surplus);
        whole
    }

    /// What has come of a line without its end.
    pub(super) fn last(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| shown(&rest))
    }
}

fn shown(bytes: &[u8]) -> String {
    one_line(&uncolored(&String::from_utf8_lossy(bytes)))
}

/// A text without what only colors it (`ESC [ 1;31 m`): many programs do that for whoever reads along. All else that
/// steers a terminal is shown, escaped.
fn uncolored(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        let numbers = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_digit() || ";:".contains(c))
                .len();
        out.push_str(before);
        rest = match after[numbers..].strip_prefix('m') {
            Some(rest) => rest,
            None => {
                out.push_str("\x1b[");
                after
            }
        };
    }
    out + rest
}

/// One line that steers no terminal.
pub(super) fn one_line(text: &str) -> String {
    unbroken(&visible(&text.replace('\t', "    ")))
}

/// `12.3s`, `4m05s`
pub(super) fn time(took: Duration) -> String {
    match took.as_secs() {
        seconds @ 0..60 => format!("{seconds}.{}s", took.subsec_millis() / 100),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_lines_however_it_comes() {
        let mut step = Step::new(2, 7, Some("a"), "RUN x\ny");
        assert_eq!(step.title, "[a 2/7] RUN x\\ny");
        assert_eq!(step.output(b"one\r\ntw"), ["one"]);
        assert_eq!(step.output(b"o\n\n"), ["two", ""]);
        assert_eq!(step.output(b" 1%\r 2%\r"), [" 1%", " 2%"]);
        assert_eq!(step.output(b"\x1b[2Jend\ttab"), Vec::<String>::new());
        assert_eq!(step.last().as_deref(), Some("\\u{1b}[2Jend    tab"));
        assert_eq!(step.lines, ["one", "two", " 1%", " 2%"]);
    }

    #[test]
    fn colors_are_left_out_and_nothing_else() {
        assert_eq!(shown(b"\x1b[1;31mred\x1b[0m, \x1b[mplain"), "red, plain");
        assert_eq!(shown(b"\x1b[\x1b[31m2J"), "\\u{1b}[2J");
        assert_eq!(shown(b"\x1b[31"), "\\u{1b}[31");
        assert_eq!(shown(b"\x1b]0;title\x07"), "\\u{1b}]0;title\\u{7}");
    }

    #[test]
    fn times_are_short() {
        let shown = |millis| time(Duration::from_millis(millis));
        assert_eq!(
            [0, 1290, 59_999, 60_000, 754_000].map(shown),
            ["0.0s", "1.2s", "59.9s", "1m00s", "12m34s"]
        );
    }
}
