//! Lines of JSON, one for each event. Not its job: events.

use builder::Event;
use serde_json::{Value, json};

/// The line of an event.
pub(super) fn line(event: &Event<'_>) -> String {
    let value = match event {
        Event::Warning(text) => json!({"event": "warning", "text": text}),
        Event::Pull(name) => json!({"event": "pull", "image": name}),
        Event::Step {
            number,
            total,
            stage,
            text,
        } => json!({
            "event": "step", "number": number, "total": total, "stage": stage, "text": text,
        }),
        Event::Missed { number, why } => json!({"event": "missed", "number": number, "why": why}),
        Event::Cached { number } => json!({"event": "cached", "number": number}),
        Event::Output { number, bytes } => json!({
            "event": "output", "number": number, "text": String::from_utf8_lossy(bytes),
        }),
        Event::Done { number, took } => {
            json!({"event": "done", "number": number, "seconds": took.as_secs_f64()})
        }
        Event::Failed { number, took } => {
            json!({"event": "failed", "number": number, "seconds": took.as_secs_f64()})
        }
        _ => Value::Null,
    };
    match value {
        Value::Null => String::new(),
        value => format!("{}\n", ascii(&value.to_string())),
    }
}

/// The same JSON without a character that a terminal could take for an order: they stand in strings alone.
fn ascii(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => safe.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_ascii() {
        let text = line(&Event::Output {
            number: 3,
            bytes: "a\u{1b}[2J\u{202e}\n\u{1f600}\u{7f}".as_bytes(),
        });
        assert!(
            text.bytes()
                .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["text"], "a\u{1b}[2J\u{202e}\n\u{1f600}\u{7f}");
    }
}
