//! HEALTHCHECK: the command and its times. Not its job: running it.

use super::Request;
use super::flags::Flags;
use crate::diagnostic::{Checked, Fault, did_you_mean};
use crate::instruction::Healthcheck;
use crate::lines::Line;
use crate::words::{self, Word};

/// A time below this is a mistake, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// HEALTHCHECK.
pub(super) fn healthcheck(request: &Request<'_>) -> Checked<Healthcheck> {
    let rest = request.rest();
    let kind_end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (kind, after) = rest.split_at(kind_end);
    let command = after.trim_start();
    let known = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    // Those of NONE say nothing, and yet BuildKit takes them.
    let flags = Flags::read(&request.parts.flags, &known)?;
    match kind.to_uppercase().as_str() {
        "" => request.fault("HEALTHCHECK requires at least one argument"),
        "NONE" => {
            for name in known {
                flags.value(name)?;
            }
            if !command.is_empty() {
                return request.fault("HEALTHCHECK NONE takes no arguments");
            }
            Ok(Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            })
        }
        "CMD" => {
            let at = request.parts.rest.end - command.len();
            Ok(Healthcheck {
                test: test(request.line, at..request.parts.rest.end)?,
                interval: time(&flags, "interval")?,
                timeout: time(&flags, "timeout")?,
                start_period: time(&flags, "start-period")?,
                start_interval: time(&flags, "start-interval")?,
                retries: retries(flags.value("retries")?)?,
            })
        }
        _ => request.fault(format!(
            "unknown type {kind:?} in HEALTHCHECK (try CMD){}",
            did_you_mean(kind, ["CMD", "NONE"])
        )),
    }
}

fn test(line: &Line, range: std::ops::Range<usize>) -> Checked<Vec<String>> {
    let text = line.text[range.clone()].to_owned();
    let span = line.whole_span();
    let (kind, words) = match words::json(line, range)? {
        Some(words) => ("CMD", words),
        None if text.is_empty() => ("CMD", Vec::new()),
        None => ("CMD-SHELL", vec![text]),
    };
    if words.is_empty() {
        return Err(Fault::new(span, "missing command after HEALTHCHECK CMD"));
    }
    let mut test = vec![kind.to_owned()];
    test.extend(words);
    Ok(test)
}

fn retries(word: Option<Word>) -> Checked<i64> {
    let Some(word) = word else { return Ok(0) };
    match word.text.parse::<i32>() {
        Ok(count) if count >= 0 => Ok(i64::from(count)),
        Ok(count) => Err(Fault::new(
            word.span,
            format!("--retries cannot be negative ({count})"),
        )),
        Err(_) => Err(Fault::new(
            word.span,
            format!("--retries must be a number, not {:?}", word.text),
        )),
    }
}

fn time(flags: &Flags, name: &str) -> Checked<i64> {
    let Some(word) = flags.value(name)? else {
        return Ok(0);
    };
    if word.text.is_empty() {
        return Ok(0);
    }
    let Some(nanoseconds) = duration(&word.text) else {
        return Err(Fault::new(
            word.span,
            format!("--{name}: invalid duration {:?} (as in 1m30s)", word.text),
        ));
    };
    if nanoseconds != 0 && nanoseconds < SHORTEST {
        return Err(Fault::new(
            word.span,
            format!("--{name}: interval {:?} cannot be less than 1ms", word.text),
        ));
    }
    Ok(nanoseconds)
}

/// A duration as Go writes it, in nanoseconds: `1h2m3.5s`.
fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    let nanoseconds = sign * total;
    (nanoseconds.abs() < 9e18).then_some(nanoseconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5h"), Some(5_400_000_000_000));
        assert_eq!(duration("0"), Some(0));
        assert_eq!(duration("-1s"), Some(-1_000_000_000));
        for bad in ["", "5", "s", "1x", "1s2"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
