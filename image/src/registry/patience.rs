//! How long we wait for a registry, and how often we ask again. Pure: it says how long,
//! others sleep. Not its job: what is asked.

use std::time::Duration;

/// The longest that a registry may make us wait with `Retry-After`.
const MOST: Duration = Duration::from_secs(60);

/// Our patience. Tests have little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Requests made for one answer at most, the first included.
    pub(super) attempts: u32,
    /// The wait before the second one; it doubles.
    pub(super) pause: Duration,
    /// For name, connection and TLS.
    pub(super) connect: Duration,
    /// From the end of the request to the end of the answer's headers, and between two pieces of a body.
    pub(super) idle: Duration,
    /// A body slower than this many bytes in `idle` has stalled.
    pub(super) least: u64,
    /// A connection that brought this many bytes before it broke does not count as an attempt.
    pub(super) progress: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            pause: Duration::from_millis(500),
            connect: Duration::from_secs(20),
            idle: Duration::from_secs(60),
            least: 60 << 10,
            progress: 1 << 20,
        }
    }
}

impl Patience {
    /// How long to wait after the attempt number `made` (from 1) before the next; `None` to give up.
    /// `asked` is what the registry wishes.
    pub(super) fn wait(&self, made: u32, asked: Option<Duration>) -> Option<Duration> {
        if made >= self.attempts {
            return None;
        }
        let doubled = self.pause * 2_u32.saturating_pow(made.saturating_sub(1).min(10));
        match asked {
            Some(asked) if asked > MOST => None,
            Some(asked) => Some(asked.max(doubled).min(MOST)),
            None => Some(doubled.min(MOST)),
        }
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. `now` is in seconds since 1970.
pub(super) fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    let left = date.as_second().saturating_sub(now);
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let patience = Patience {
            attempts: 4,
            pause: Duration::from_secs(1),
            ..Patience::default()
        };
        let seconds = |made| patience.wait(made, None).map(|wait| wait.as_secs());
        assert_eq!(
            [1, 2, 3, 4, 5].map(seconds),
            [Some(1), Some(2), Some(4), None, None]
        );
    }

    #[test]
    fn what_a_registry_asks_for_is_kept_within_reason() {
        let patience = Patience::default();
        let wait = |asked| patience.wait(1, Some(Duration::from_secs(asked)));
        assert_eq!(wait(0), Some(patience.pause));
        assert_eq!(wait(7), Some(Duration::from_secs(7)));
        assert_eq!(wait(3600), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let seconds = |value, now| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120", 0), Some(120));
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(seconds(date, 946_684_790), Some(9));
        assert_eq!(seconds(date, 946_684_800), Some(0));
        for odd in ["", "-1", "soon", "1.5", "99999999999"] {
            assert_eq!(seconds(odd, 0), None, "{odd}");
        }
    }
}
