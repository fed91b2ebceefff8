//! The leading `--name=value` words of an instruction. Not its job: what the values mean.

use crate::diagnostic::{Checked, Fault, did_you_mean};
use crate::source::Span;
use crate::words::Word;

/// An instruction's flags, each known to it.
pub(crate) struct Flags {
    found: Vec<Flag>,
}

struct Flag {
    name: String,
    value: Option<String>,
    span: Span,
}

impl Flags {
    /// Reads the flags; each must be one of `known`. A known name that ends in `*` may be given several
    /// times.
    pub(crate) fn read(words: &[Word], known: &[&str]) -> Checked<Self> {
        let mut found: Vec<Flag> = Vec::new();
        for word in words {
            let text = word.text.strip_prefix("--").unwrap_or(&word.text);
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let several = known.iter().any(|k| k.strip_suffix('*') == Some(name));
            if !several && !known.contains(&name) {
                return Err(unknown(word, name, known));
            }
            if !several && found.iter().any(|flag| flag.name == name) {
                return Err(Fault::new(
                    word.span,
                    format!("duplicate flag specified: --{name}"),
                ));
            }
            found.push(Flag {
                name: name.to_owned(),
                value,
                span: word.span,
            });
        }
        Ok(Self { found })
    }

    /// The value of a flag that needs one.
    pub(crate) fn value(&self, name: &str) -> Checked<Option<Word>> {
        Ok(self.values(name)?.pop())
    }

    /// All values of a flag that needs one.
    pub(crate) fn values(&self, name: &str) -> Checked<Vec<Word>> {
        self.found
            .iter()
            .filter(|flag| flag.name == name)
            .map(|flag| match &flag.value {
                Some(text) => Ok(Word {
                    text: text.clone(),
                    span: flag.span,
                }),
                None => Err(missing(flag)),
            })
            .collect()
    }

    /// Where a flag that is on or off is on.
    pub(crate) fn switch(&self, name: &str) -> Checked<Option<Span>> {
        Ok(self.choice(name)?.and_then(|(on, span)| on.then_some(span)))
    }

    /// A flag that is on, off or not given, and its place.
    pub(crate) fn choice(&self, name: &str) -> Checked<Option<(bool, Span)>> {
        let Some(flag) = self.found.iter().find(|flag| flag.name == name) else {
            return Ok(None);
        };
        let on = match flag.value.as_deref() {
            None => true,
            Some("") => return Err(missing(flag)),
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) => {
                return Err(Fault::new(
                    flag.span,
                    format!(
                        "expecting boolean value for flag --{name}, not: {text} (true or false)"
                    ),
                ));
            }
        };
        Ok(Some((on, flag.span)))
    }
}

/// A flag that the instruction lacks: one that is written wrongly, or one of another instruction.
fn unknown(word: &Word, name: &str, known: &[&str]) -> Fault {
    let mut near = did_you_mean(name, known.iter().map(|k| k.trim_end_matches('*')));
    let owner = OWNERS.iter().find(|(_, names)| names.contains(&name));
    if let (true, Some((owner, _))) = (near.is_empty(), owner) {
        near = format!(" (it is a flag of {owner})");
    }
    Fault::new(word.span, format!("unknown flag: --{name}{near}"))
}

/// Flags that only some instructions have.
const OWNERS: [(&str, &[&str]); 6] = [
    ("FROM", &["platform"]),
    ("COPY", &["from", "parents"]),
    ("ADD", &["checksum", "keep-git-dir", "unpack"]),
    ("COPY and ADD", &["chown", "chmod", "link", "exclude"]),
    ("RUN", &["mount", "network", "security", "device"]),
    (
        "HEALTHCHECK",
        &[
            "interval",
            "timeout",
            "start-period",
            "start-interval",
            "retries",
        ],
    ),
];

fn missing(flag: &Flag) -> Fault {
    Fault::new(
        flag.span,
        format!(
            "missing a value on flag: --{} (write --{0}=VALUE)",
            flag.name
        ),
    )
}
