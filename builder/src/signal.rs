//! Whether STOPSIGNAL names a signal. Not its job: sending it.

use crate::diagnostic::nearest;

/// Linux's signals below the real-time ones, without `SIG`.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Checks a number or a name, with or without SIG, in any case. As with BuildKit any number but 0 will do: what the
/// image's system makes of it is its own business.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if let Ok(number) = text.parse::<i64>() {
        return match number {
            0 => Err(format!(
                "invalid signal: {text} (1 to 64, or a name as SIGTERM)"
            )),
            _ => Ok(()),
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix: &str, most: u8| {
        (1..=most).any(|offset| name.strip_prefix(prefix) == Some(&offset.to_string()))
    };
    if NAMES.contains(&name) || real_time("RTMIN+", 15) || real_time("RTMAX-", 14) {
        return Ok(());
    }
    Err(match nearest(name, NAMES) {
        Some(near) => format!("invalid signal: {text} (did you mean SIG{near}?)"),
        None => format!("invalid signal: {text} (1 to 64, or a name as SIGTERM)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_known() {
        for good in [
            "9",
            "SIGTERM",
            "term",
            "RTMIN+3",
            "SIGRTMAX-1",
            "64",
            "65",
            "-1",
            "+9",
        ] {
            check(good).unwrap();
        }
        for bad in ["FOO", "0", "RTMIN+16", "RTMAX-15", "RTMIN+03", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check("SIGTREM").unwrap_err(),
            "invalid signal: SIGTREM (did you mean SIGTERM?)"
        );
    }
}
