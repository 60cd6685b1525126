//! What is to be done about a schedule's slot, as a function of the time. Pure.

use std::time::Duration;

use insula_context::Timestamp;

use super::{Missed, calendar::Calendar};

/// A slot that is older was missed: nobody worked on the queue when it came. What is younger is on time, so that a
/// process that is restarted misses nothing.
pub(super) const TOLERANCE: Duration = Duration::from_secs(60);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Its time has not come.
    Wait,
    /// The slot gets its run, and the next one has its turn.
    Fire {
        /// The next slot, if there is one.
        then: Option<Timestamp>,
    },
    /// The slot gets none, and this one has its turn.
    Pass {
        /// The slot that is looked at next.
        to: Option<Timestamp>,
    },
}

/// What is to be done about the slot that a schedule stands at.
pub(super) fn next(calendar: &Calendar, missed: Missed, slot: Timestamp, now: Timestamp) -> Next {
    let on_time = Timestamp::from_micros(now.as_micros().saturating_sub(TOLERANCE.as_micros() as i64));
    let fire = || Next::Fire { then: calendar.after(slot) };
    if slot > now {
        return Next::Wait;
    }
    if slot >= on_time {
        return fire();
    }
    let before = Timestamp::from_micros(on_time.as_micros().saturating_sub(1));
    match missed {
        Missed::All => fire(),
        Missed::Skip => Next::Pass { to: calendar.after(before) },
        // The last one stands for all. The schedule is moved there first, so that whoever finds it after a crash fires
        // the same one, or a later one that nobody has fired.
        Missed::Once => match calendar.until(before) {
            Some(last) if last > slot => Next::Pass { to: Some(last) },
            _ => fire(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn hourly(missed: Missed, slot: i64, now: i64) -> Next {
        let calendar = Calendar::read("0 * * * *", "UTC").expect("a calendar");
        next(&calendar, missed, Timestamp::from_micros(slot * MINUTE), Timestamp::from_micros(now * MINUTE))
    }

    fn minute(at: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(at * MINUTE))
    }

    #[test]
    fn a_slot_on_time_fires_whatever_the_rule() {
        for rule in Missed::ALL {
            assert_eq!(hourly(rule, 600, 599), Next::Wait);
            for now in [600, 601] {
                assert_eq!(hourly(rule, 600, now), Next::Fire { then: minute(660) }, "{rule:?} at {now}");
            }
        }
    }

    #[test]
    fn missed_slots_follow_the_rule() {
        // It stands at 10:00, and it is 12:30.
        assert_eq!(hourly(Missed::All, 600, 750), Next::Fire { then: minute(660) });
        assert_eq!(hourly(Missed::Skip, 600, 750), Next::Pass { to: minute(780) });
        assert_eq!(hourly(Missed::Once, 600, 750), Next::Pass { to: minute(720) });
        assert_eq!(hourly(Missed::Once, 720, 750), Next::Fire { then: minute(780) });
    }

    #[test]
    fn a_slot_on_time_is_not_missed_with_those_before() {
        // It is one minute past 13:00.
        assert_eq!(hourly(Missed::Skip, 600, 781), Next::Pass { to: minute(780) });
        assert_eq!(hourly(Missed::Once, 600, 781), Next::Pass { to: minute(720) });
    }
}
