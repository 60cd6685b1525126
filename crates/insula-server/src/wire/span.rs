//! How long something may take, as people write it: a duration (`90s`) or a time.

use std::time::Duration;

use insula_context::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A duration, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// So long.
    Of(Duration),
    /// Until then.
    Until(Timestamp),
}

impl Span {
    /// Reads `500ms`, `90s`, `5m`, `1h 30m`, or a time in RFC 3339.
    ///
    /// # Errors
    /// In words, when it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Self::Of(duration));
        }
        let time = serde_json::from_value(text.into());
        time.map(Self::Until).map_err(|_| format!("\"{text}\" is neither a duration (90s, 5m) nor a time in RFC 3339"))
    }

    /// How long that is, counted from this time; nothing when it has passed.
    pub fn from(self, now: Timestamp) -> Duration {
        match self {
            Self::Of(duration) => duration,
            Self::Until(time) => time.since(now),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_are_told_apart() {
        assert_eq!(Span::parse("90s"), Ok(Span::Of(Duration::from_secs(90))));
        let now = Timestamp::from_micros(1_000_000);
        let until = Span::parse("1970-01-01T00:00:03Z").expect("a time");
        assert_eq!(until.from(now), Duration::from_secs(2));
        assert_eq!(Span::Until(now).from(now.plus(Duration::from_secs(1))), Duration::ZERO);
        assert!(Span::parse("soon").is_err() && Span::parse("-3s").is_err());
    }
}
