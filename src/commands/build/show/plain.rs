//! Plain lines: each begins with the step's number, as people know them from BuildKit. Not its job: a
//! terminal's view.

use std::collections::BTreeMap;

use builder::Event;

use super::step::{Step, one_line, time};

/// What was shown so far.
#[derive(Debug, Default)]
pub(in crate::commands::build) struct Plain {
    running: BTreeMap<usize, Step>,
    /// The step whose lines were the last.
    last: Option<usize>,
}

impl Plain {
    /// What an event adds.
    pub(super) fn event(&mut self, event: &Event<'_>) -> String {
        match event {
            Event::Warning(text) => aside(&format!("warning: {}", one_line(text))),
            Event::Pull(name) => aside(&format!("pull {}", one_line(name))),
            Event::Step {
                number,
                total,
                stage,
                text,
            } => {
                self.running
                    .insert(*number, Step::new(*number, *total, *stage, text));
                self.lines(*number, &[])
            }
            Event::Missed { number, why } => {
                let why: Vec<String> = why
                    .iter()
                    .map(|why| format!("not cached: {}", one_line(why)))
                    .collect();
                self.lines(*number, &why)
            }
            Event::Cached { number } => {
                if let Some(step) = self.running.get_mut(number) {
                    step.cached = true;
                }
                String::new()
            }
            Event::Output { number, bytes } => {
                let Some(step) = self.running.get_mut(number) else {
                    return String::new();
                };
                let since = step.began.elapsed();
                let lines: Vec<String> = step
                    .output(bytes)
                    .iter()
                    .map(|line| format!("{}.{:03} {line}", since.as_secs(), since.subsec_millis()))
                    .collect();
                match lines.is_empty() {
                    true => String::new(),
                    false => self.lines(*number, &lines),
                }
            }
            Event::Done { number, took } => {
                let cached = self.running.get(number).is_some_and(|step| step.cached);
                let word = if cached {
                    "CACHED".to_owned()
                } else {
                    format!("DONE {}", time(*took))
                };
                self.finish(*number, &word)
            }
            Event::Failed { number, took } => {
                self.finish(*number, &format!("FAILED {}", time(*took)))
            }
            _ => String::new(),
        }
    }

    /// What is still to be shown at the end.
    pub(super) fn end(self) -> String {
        match self.last {
            Some(_) => "\n".to_owned(),
            None => String::new(),
        }
    }

    /// Lines of a step, below its title where another step had the word.
    fn lines(&mut self, number: usize, lines: &[String]) -> String {
        let mut text = String::new();
        if self.last != Some(number) {
            if self.last.is_some() {
                text.push('\n');
            }
            let title = self.running.get(&number).map_or("", |step| &step.title);
            text.push_str(&format!("#{number} {title}\n"));
            self.last = Some(number);
        }
        for line in lines {
            text.push_str(format!("#{number} {line}").trim_end());
            text.push('\n');
        }
        text
    }

    /// A step's last line.
    fn finish(&mut self, number: usize, word: &str) -> String {
        let rest = self.running.get_mut(&number).and_then(Step::last);
        let lines: Vec<String> = rest.into_iter().chain([word.to_owned()]).collect();
        let text = self.lines(number, &lines);
        self.running.remove(&number);
        text
    }
}

/// A line that is of no step; the step that has the word keeps it.
fn aside(line: &str) -> String {
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_that_run_side_by_side_keep_their_numbers() {
        let mut plain = Plain::default();
        let mut text = String::new();
        let took = Duration::from_millis(1500);
        for event in [
            Event::Warning("odd\x1b"),
            Event::Step {
                number: 1,
                total: 2,
                stage: None,
                text: "RUN a",
            },
            Event::Step {
                number: 2,
                total: 2,
                stage: Some("b"),
                text: "COPY x /",
            },
            Event::Missed {
                number: 2,
                why: &["x is new".to_owned()],
            },
            Event::Cached { number: 2 },
            Event::Done { number: 2, took },
            Event::Done { number: 1, took },
        ] {
            text.push_str(&plain.event(&event));
        }
        text.push_str(&plain.end());
        assert_eq!(
            text,
            "warning: odd\\u{1b}\n#1 [1/2] RUN a\n\n#2 [b 2/2] COPY x /\n#2 not cached: x is new\n#2 CACHED\n\n\
             #1 [1/2] RUN a\n#1 DONE 1.5s\n\n"
        );
    }
}
