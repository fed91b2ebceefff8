//! Whether STOPSIGNAL names a signal. Not its job: sending it.

use crate::diagnostic::nearest;

/// Linux's signals below the real-time ones, without `SIG`.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Checks a number from 1 to 64 or a name, with or without SIG, in any case.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if let Ok(number) = text.parse::<i64>() {
        return match number {
            1..=64 => Ok(()),
            _ => Err(format!(
                "invalid signal: {text} (1 to 64, or a name as SIGTERM)"
            )),
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix: &str, sign: char| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix(sign))
            .and_then(|rest| rest.parse::<u8>().ok())
            .is_some_and(|offset| offset <= 15)
    };
    if NAMES.contains(&name) || real_time("RTMIN", '+') || real_time("RTMAX", '-') {
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
        for good in ["9", "SIGTERM", "term", "RTMIN+3", "SIGRTMAX-1", "64"] {
            check(good).unwrap();
        }
        for bad in ["FOO", "0", "65", "-1", "RTMIN+16", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check("SIGTREM").unwrap_err(),
            "invalid signal: SIGTREM (did you mean SIGTERM?)"
        );
    }
}
