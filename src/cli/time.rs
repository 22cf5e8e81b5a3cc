//! Times and durations as people write and read them. Pure, except for the clock in [`since`].

use jiff::{Span, SpanRelativeTo, Timestamp};

/// A time, or how long ago it was.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago =
        text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let time = ago.and_then(|ago| Timestamp::now().checked_sub(ago.abs()));
    time.map_err(|_| "write a time such as 2026-11-22T10:00:00Z, or 10m, 2h, 1d".to_owned())
}

/// A time to the second, in UTC.
pub(super) fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long ago a time was: one number and a unit. Clocks differ, so a time may also be to come.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(time.as_second()).max(0);
    let (number, unit) = match seconds {
        0..60 => (seconds, 's'),
        60..3_600 => (seconds / 60, 'm'),
        3_600..86_400 => (seconds / 3_600, 'h'),
        _ => (seconds / 86_400, 'd'),
    };
    format!("{number}{unit} ago")
}

/// A duration: the two largest units, and tenths of a second below ten seconds.
pub(super) fn took(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let two = |large: u64, unit: char, small: u64, below: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{below}"),
    };
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3_600 => two(whole / 60, 'm', whole % 60, 's'),
        3_600..86_400 => two(whole / 3_600, 'h', whole % 3_600 / 60, 'm'),
        _ => two(whole / 86_400, 'd', whole % 86_400 / 3_600, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_told_as_such_or_as_how_long_ago() {
        assert_eq!(since("2026-11-22T10:00:00Z").unwrap().to_string(), "2026-11-22T10:00:00Z");
        for (text, seconds) in [("10m", 600), ("2h", 7200), ("1d", 86_400), ("90s", 90)] {
            let ago = |now: Timestamp| now - jiff::SignedDuration::from_secs(seconds);
            let earliest = ago(Timestamp::now());
            let told = since(text).unwrap();
            assert!(earliest <= told && told <= ago(Timestamp::now()), "{text}: {told}");
        }
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn an_age_is_one_number_and_a_duration_at_most_two() {
        let time: Timestamp = "2026-03-02T09:15:03.5Z".parse().unwrap();
        let after = |seconds| ago(time, time + jiff::SignedDuration::from_secs(seconds));
        let ages = [-5, 0, 59, 60, 3_599, 3_600, 86_399, 86_400].map(after);
        let expected = ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d"];
        assert_eq!(ages, expected.map(|age| format!("{age} ago")));
        let durations = [-1.0, 0.0, 9.94, 12.7, 60.0, 185.0, 3_600.0, 7_810.0, 277_200.0].map(took);
        let expected = ["0.0s", "0.0s", "9.9s", "12s", "1m", "3m 5s", "1h", "2h 10m", "3d 5h"];
        assert_eq!(durations, expected);
    }
}
