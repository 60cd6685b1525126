//! Which slots a cron expression has in a time zone. Pure: it is told what time it is.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use insula_context::Timestamp;

use crate::Error;

/// A cron expression and the zone whose clock it is read by.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    cron: Cron,
    zone: Tz,
}

fn refused(field: &'static str, problem: String) -> Error {
    Error::Schedule { field, problem }
}

impl Calendar {
    /// Reads both.
    ///
    /// # Errors
    /// [`Error::Schedule`] with the field that cannot be read.
    pub(super) fn read(cron: &str, zone: &str) -> Result<Self, Error> {
        let words = |error: croner::errors::CronError| {
            refused(
                "cron",
                format!(
                    "\"{cron}\" cannot be read ({}): it has minute, hour, day, month and weekday, and seconds before them \
                     if wanted, as in \"0 9 * * MON-FRI\"",
                    error.to_string().trim_end_matches('.').to_lowercase()
                ),
            )
        };
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(words)?;
        let known = |_| {
            let problem = format!("there is no \"{zone}\"; take a name of the tz database, \"Europe/Rome\" or \"UTC\"");
            refused("zone", problem)
        };
        Ok(Self { cron, zone: zone.parse().map_err(known)? })
    }

    /// The first slot after this time. `None` when none comes.
    pub(super) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        timestamp(&self.cron.find_next_occurrence(&self.local(time)?, false).ok()?)
    }

    /// The last slot until this time, which may be one itself.
    pub(super) fn until(&self, time: Timestamp) -> Option<Timestamp> {
        timestamp(&self.cron.find_previous_occurrence(&self.local(time)?, true).ok()?)
    }

    fn local(&self, time: Timestamp) -> Option<DateTime<Tz>> {
        DateTime::<Utc>::from_timestamp_micros(time.as_micros()).map(|utc| utc.with_timezone(&self.zone))
    }
}

fn timestamp(local: &DateTime<Tz>) -> Option<Timestamp> {
    Some(Timestamp::from_micros(local.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros())
    }

    /// The first `n` slots after a time, in UTC.
    fn slots(cron: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let calendar = Calendar::read(cron, zone).expect("a calendar");
        let mut time = at(after);
        let next = || {
            time = calendar.after(time)?;
            Some(time.to_string())
        };
        std::iter::from_fn(next).take(n).collect()
    }

    #[test]
    fn slots_follow_the_clock_on_the_wall() {
        let summer = slots("0 9 * * MON-FRI", "Europe/Berlin", "2026-03-27T12:00:00Z", 2);
        assert_eq!(summer, ["2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"]);
        let seconds = slots("*/20 * * * * *", "UTC", "2026-03-27T12:00:01Z", 2);
        assert_eq!(seconds, ["2026-03-27T12:00:20Z", "2026-03-27T12:00:40Z"]);
        assert_eq!(slots("0 0 29 2 *", "UTC", "2026-03-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_fixed_time_that_does_not_exist_comes_when_the_gap_is_over() {
        // 02:30 is left out on the 29th: clocks go from 02:00 to 03:00, which is 01:00 UTC.
        let spring = slots("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_fixed_time_that_comes_twice_is_its_first() {
        let autumn = slots("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn an_interval_goes_on_through_gap_and_overlap() {
        let spring = slots("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3);
        assert_eq!(spring, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        let autumn = slots("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4);
        assert_eq!(
            autumn,
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn the_last_slot_is_one_that_was_the_next_before() {
        for (cron, from) in [("30 2 * * *", "2026-10-20T00:00:00Z"), ("*/30 * * * *", "2026-10-24T22:00:00Z")] {
            let calendar = Calendar::read(cron, "Europe/Berlin").expect("a calendar");
            let mut slot = calendar.after(at(from)).expect("a slot");
            for _ in 0..10 {
                assert_eq!(calendar.until(slot), Some(slot), "{cron}");
                let next = calendar.after(slot).expect("another");
                assert_eq!(calendar.until(Timestamp::from_micros(next.as_micros() - 1)), Some(slot), "{cron}");
                slot = next;
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let problem = |cron, zone| match Calendar::read(cron, zone) {
            Err(Error::Schedule { field, problem }) => (field, problem),
            other => panic!("{other:?}"),
        };
        for cron in ["", "61 * * * *", "* * *", "x y z a b", "*/0 * * * *", "0 0 1 1 * * 2030"] {
            let (field, words) = problem(cron, "UTC");
            assert!(field == "cron" && words.contains("weekday"), "{cron}: {field}: {words}");
        }
        for zone in ["", "Europe/Nowhere", "europe/rome"] {
            let (field, words) = problem("* * * * *", zone);
            assert!(field == "zone" && words.contains("Europe/Rome"), "{zone}: {field}: {words}");
        }
    }

    #[test]
    fn an_expression_without_a_slot_has_none() {
        let calendar = Calendar::read("0 0 31 2 *", "UTC").expect("it can be read");
        assert_eq!(calendar.after(at("2026-01-01T00:00:00Z")), None);
    }
}
