//! The view on a terminal: above, a line for each finished step, which stays; below, the running steps with
//! their last lines, drawn anew. Not its job: plain lines.
//!
//! Own code: a library for this draws from a thread of its own, and RUN's containers are made by a process
//! of one thread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use builder::Event;

use super::put;
use super::step::{Step, one_line, time};

/// The view is not drawn more often.
const PAUSE: Duration = Duration::from_millis(80);

/// Lines of output below a running step.
const BELOW: usize = 4;

/// A size to go by where the terminal says none.
const USUAL: (usize, usize) = (80, 24);

/// The view.
#[derive(Debug)]
pub(in crate::commands::build) struct Terminal {
    running: BTreeMap<usize, Step>,
    began: Instant,
    drawn: Option<Instant>,
    /// The columns of each line that was drawn last, below all that stays.
    region: Vec<usize>,
    total: usize,
    done: usize,
    cached: usize,
    colors: bool,
}

/// What a line is, for its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Cached,
    Failed,
    Faint,
}

/// A line of the view.
#[derive(Debug)]
struct Line {
    tone: Tone,
    text: String,
    /// What stands at the end of a step's line, which is made to fit the window: the step's time.
    tail: Option<String>,
}

impl Line {
    /// A line that stays as long as it is.
    fn whole(tone: Tone, text: String) -> Self {
        Self {
            tone,
            text,
            tail: None,
        }
    }

    fn step(tone: Tone, text: String, tail: String) -> Self {
        Self {
            tone,
            text,
            tail: Some(tail),
        }
    }

    /// In so many columns, if it is a step's. The whole text of a step is in the recipe, and in what is said of
    /// its failure.
    fn fitted(&self, room: usize) -> String {
        match self.tail.as_deref() {
            None => self.text.clone(),
            Some(tail) => fit(&self.text, tail, room),
        }
    }
}

impl Terminal {
    pub(super) fn new(colors: bool) -> Self {
        Self {
            running: BTreeMap::new(),
            began: Instant::now(),
            drawn: None,
            region: Vec::new(),
            total: 0,
            done: 0,
            cached: 0,
            colors,
        }
    }

    pub(super) fn event(&mut self, event: &Event<'_>) {
        let stays = self.take(event);
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE);
        if due || !stays.is_empty() {
            let frame = self.frame(&stays, size());
            put(&frame);
            self.drawn = Some(Instant::now());
        }
    }

    /// Takes the running steps away.
    pub(super) fn end(mut self) {
        self.running.clear();
        self.total = 0;
        let frame = self.frame(&[], size());
        put(&frame);
    }

    /// Takes an event; gives the lines that stay.
    fn take(&mut self, event: &Event<'_>) -> Vec<Line> {
        match event {
            Event::Warning(text) => {
                let text = format!("warning: {}", one_line(text));
                vec![Line::whole(Tone::Failed, text)]
            }
            Event::Pull(name) => {
                let text = format!(" => pull {}", one_line(name));
                vec![Line::whole(Tone::Plain, text)]
            }
            Event::Step {
                number,
                total,
                stage,
                text,
            } => {
                self.total = *total;
                self.running
                    .insert(*number, Step::new(*number, *total, *stage, text));
                Vec::new()
            }
            Event::Missed { number, why } => {
                if let Some(step) = self.running.get_mut(number) {
                    step.why = why.iter().map(|why| one_line(why)).collect();
                }
                Vec::new()
            }
            Event::Cached { number } => {
                if let Some(step) = self.running.get_mut(number) {
                    step.cached = true;
                }
                Vec::new()
            }
            Event::Output { number, bytes } => {
                if let Some(step) = self.running.get_mut(number) {
                    step.output(bytes);
                }
                Vec::new()
            }
            Event::Done { number, took } => self.finish(*number, *took, Tone::Plain),
            Event::Failed { number, took } => self.finish(*number, *took, Tone::Failed),
            _ => Vec::new(),
        }
    }

    fn finish(&mut self, number: usize, took: Duration, tone: Tone) -> Vec<Line> {
        let Some(step) = self.running.remove(&number) else {
            return Vec::new();
        };
        self.done += 1;
        let line = match (tone, step.cached) {
            (Tone::Failed, _) => Line::step(tone, format!(" => FAILED {}", step.title), time(took)),
            (_, true) => {
                self.cached += 1;
                let text = format!(" => CACHED {}", step.title);
                Line::step(Tone::Cached, text, String::new())
            }
            (tone, false) => Line::step(tone, format!(" => {}", step.title), time(took)),
        };
        let why = step
            .why
            .iter()
            .map(|why| Line::whole(Tone::Faint, format!("      not cached: {why}")));
        std::iter::once(line).chain(why).collect()
    }

    /// The bytes that take the old region away, add the lines that stay, and draw the region.
    fn frame(&mut self, stays: &[Line], (width, height): (usize, usize)) -> String {
        let mut text = String::new();
        // The window may have become narrower since: what was drawn takes more rows then.
        let rows: usize = self
            .region
            .iter()
            .map(|columns| columns.div_ceil(width).max(1))
            .sum();
        if rows > 0 {
            text.push_str(&format!(
                "\x1b[{}A",
                rows.min(height.saturating_sub(1)).max(1)
            ));
        }
        text.push_str("\r\x1b[J");
        let room = width.saturating_sub(1);
        for line in stays {
            text.push_str(&self.painted(line.tone, &line.fitted(room)));
            text.push('\n');
        }
        self.region.clear();
        for line in self.below(height.saturating_sub(1)) {
            let shown = cut(&line.fitted(room), room);
            self.region.push(columns(&shown));
            text.push_str(&self.painted(line.tone, &shown));
            text.push('\n');
        }
        text
    }

    /// What is below: how far the build is, each running step and its last lines, `most` lines in all.
    fn below(&self, most: usize) -> Vec<Line> {
        if self.running.is_empty() && (self.total == 0 || self.done == self.total) {
            return Vec::new();
        }
        let since = time(self.began.elapsed());
        let mut lines = vec![Line::whole(
            Tone::Faint,
            format!(
                "[+] {since}, {} of {} steps, {} cached",
                self.done, self.total, self.cached
            ),
        )];
        let each = most.saturating_sub(1) / self.running.len().max(1);
        for step in self.running.values() {
            let text = format!(" => {}", step.title);
            lines.push(Line::step(Tone::Plain, text, time(step.began.elapsed())));
            let below = BELOW.min(each.saturating_sub(1)).min(step.lines.len());
            for line in step.lines.iter().skip(step.lines.len() - below) {
                lines.push(Line::whole(Tone::Faint, format!("      {line}")));
            }
        }
        lines.truncate(most.max(1));
        lines
    }

    fn painted(&self, tone: Tone, line: &str) -> String {
        let code = match tone {
            _ if !self.colors => return line.to_owned(),
            Tone::Plain => return line.to_owned(),
            Tone::Cached => "34",
            Tone::Failed => "31",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{line}\x1b[0m")
    }
}

/// Columns and rows of the window behind stderr.
fn size() -> (usize, usize) {
    match sys::tty::size(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 1 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

/// How many columns a character takes: those of east Asia and pictures take two.
fn breadth(c: char) -> usize {
    match c {
        '\u{1100}'.. => 2,
        _ => 1,
    }
}

fn columns(line: &str) -> usize {
    line.chars().map(breadth).sum()
}

/// As much of a line as has room.
fn cut(line: &str, room: usize) -> String {
    let mut left = room;
    let fits = |c: &char| {
        let fits = breadth(*c) <= left;
        left = left.saturating_sub(breadth(*c));
        fits
    };
    line.chars().take_while(fits).collect()
}

/// A text and what must be seen behind it, in so many columns.
fn fit(text: &str, tail: &str, room: usize) -> String {
    let behind = if tail.is_empty() {
        0
    } else {
        columns(tail) + 1
    };
    if columns(text) + behind <= room {
        return format!("{text} {tail}").trim_end().to_owned();
    }
    // In a very narrow window there is no use in it.
    if room < behind + 16 {
        return cut(text, room);
    }
    let text = cut(text, room - behind - columns("…"));
    format!("{text}… {tail}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(colors: bool) -> Terminal {
        let mut view = Terminal::new(colors);
        for (number, text) in [(1, "RUN a"), (2, "RUN b")] {
            view.take(&Event::Step {
                number,
                total: 3,
                stage: None,
                text,
            });
        }
        view.take(&Event::Output {
            number: 2,
            bytes: b"one\ntwo\x1b[2J\n",
        });
        view
    }

    #[test]
    fn finished_steps_stay_above_and_running_ones_below() {
        let mut view = begun(false);
        assert_eq!(
            view.frame(&[], (80, 24)),
            "\r\x1b[J[+] 0.0s, 0 of 3 steps, 0 cached\n => [1/3] RUN a 0.0s\n => [2/3] RUN b 0.0s\n      one\n      two\\u{1b}[2J\n"
        );
        view.take(&Event::Cached { number: 1 });
        let stays = view.take(&Event::Done {
            number: 1,
            took: Duration::ZERO,
        });
        assert_eq!(
            view.frame(&stays, (80, 24)),
            "\x1b[5A\r\x1b[J => CACHED [1/3] RUN a\n[+] 0.0s, 1 of 3 steps, 1 cached\n => [2/3] RUN b 0.0s\n      one\n      two\\u{1b}[2J\n"
        );
    }

    #[test]
    fn a_smaller_window_is_taken_into_account() {
        let mut view = begun(false);
        view.frame(&[], (80, 24));
        let frame = view.frame(&[], (10, 3));
        // 32, 20, 20, 9 and 18 columns of before, in rows of 10; but no more than the window has.
        assert!(frame.starts_with("\x1b[2A\r\x1b[J"), "{frame:?}");
        let lines: Vec<&str> = frame["\x1b[2A\r\x1b[J".len()..].lines().collect();
        assert_eq!(lines, ["[+] 0.0s,", " => [1/3]"]);
    }

    #[test]
    fn a_step_is_one_line_with_its_time_at_the_end() {
        assert_eq!(fit("RUN make", "0.1s", 40), "RUN make 0.1s");
        assert_eq!(
            fit("RUN make all the things", "12.3s", 24),
            "RUN make all the… 12.3s"
        );
        assert_eq!(
            fit("RUN make all the things", "", 20),
            "RUN make all the t…"
        );
        assert_eq!(fit("RUN make all the things", "12.3s", 12), "RUN make all");
    }

    #[test]
    fn colors_are_for_those_who_want_them() {
        let frame =
            |colors| begun(colors).frame(&[Line::whole(Tone::Cached, "x".to_owned())], (80, 24));
        assert!(frame(true).contains("\x1b[34mx\x1b[0m\n"));
        assert!(!frame(false).contains("\x1b[34m"));
    }
}
