//! The calls of a month: teams with habits, days with a rhythm, one day that is out of line.

use time::{Date, Duration, OffsetDateTime, Time, Weekday, macros::date};

use super::{
    Shape,
    habits::{HABITS, Habit, pace},
    rng::Rng,
};
use crate::{Price, Record, price};

/// The first day, a Monday.
const START: Date = date!(2026 - 01 - 05);
/// The part of all calls that belongs to a job that ran away.
const RUNAWAY: f64 = 0.014;

pub(super) struct Calls<'a> {
    seed: u64,
    shape: &'a Shape,
    rng: Rng,
    prices: Vec<Price>,
    /// The day of the job that ran away, and its team.
    bad: (usize, usize),
    /// The day on which one model was slow.
    slow: usize,
}

impl<'a> Calls<'a> {
    pub(super) fn new(seed: u64, shape: &'a Shape) -> Self {
        let mut rng = Rng::new(seed);
        let days = usize::from(shape.days);
        let bad = (working_day(days / 2 + rng.below(days.div_ceil(3))), 2 % shape.teams.len());
        let slow = working_day(rng.below(days));
        Self { seed, shape, rng, prices: price::built_in(), bad, slow }
    }

    /// So many calls, in the order of time.
    pub(super) fn draw(mut self, count: usize) -> Vec<Record> {
        let runaway = if self.shape.days < 7 { 0 } else { (count as f64 * RUNAWAY) as usize };
        let mut records: Vec<_> = (runaway..count).map(|_| self.usual()).collect();
        records.extend((0..runaway).map(|_| self.runaway()).collect::<Vec<_>>());
        records.sort_by_key(|record| record.at);
        records
    }

    fn usual(&mut self) -> Record {
        let teams = self.shape.teams.len();
        let team = self.rng.weighted((0..teams).map(|team| habit(team).calls));
        let at = self.moment(habit(team));
        let prompt = self.prompt(team);
        let output = self.rng.log_normal(habit(team).output.0, habit(team).output.1).max(1.0) as i64;
        let cached = if self.rng.chance(habit(team).cached) { self.cached(prompt.input) } else { 0 };
        self.record(team, at, &prompt, cached, output)
    }

    /// Great prompts to the dearest model, all within one night.
    fn runaway(&mut self) -> Record {
        let (day, team) = self.bad;
        let at = instant(day, 1, self.rng.between(0.0, 7_200.0));
        let input = self.rng.log_normal(34_000.0, 0.15) as i64;
        let prompt = Prompt { hash: self.rng.bits(), model: "cedar-reason", input };
        let output = self.rng.log_normal(1_800.0, 0.3) as i64;
        self.record(team, at, &prompt, 0, output)
    }

    fn moment(&mut self, habit: &Habit) -> OffsetDateTime {
        let days = usize::from(self.shape.days);
        let growth = |day: usize| 1.0 + 0.35 * day as f64 / days as f64;
        let rest = |day| if is_weekend(day) { habit.weekend } else { 1.0 };
        let day = self.rng.weighted((0..days).map(|day| growth(day) * rest(day)));
        let hour = self.rng.weighted((0..24).map(|hour| habit.hours.weight(hour)));
        instant(day, hour, self.rng.between(0.0, 3_600.0))
    }

    /// A new prompt, or one of those that the team asks again and again, the first ones most often.
    fn prompt(&mut self, team: usize) -> Prompt {
        let habit = habit(team);
        let mut rng = if self.rng.chance(habit.repeats) {
            let number = (habit.pool as f64 * self.rng.unit().powi(3)) as u64;
            Rng::of(self.seed, team as u64 + 1, number)
        } else {
            Rng::new(self.rng.bits())
        };
        let model = habit.models[rng.weighted(habit.models.iter().map(|(_, weight)| *weight))].0;
        let input = rng.log_normal(habit.input.0, habit.input.1).max(8.0) as i64;
        Prompt { hash: rng.bits(), model, input }
    }

    /// Providers cache from 1,024 tokens on, in steps of 128.
    fn cached(&mut self, input: i64) -> i64 {
        if input < 1_024 { 0 } else { (input as f64 * self.rng.between(0.6, 0.95)) as i64 / 128 * 128 }
    }

    fn record(&mut self, team: usize, at: OffsetDateTime, prompt: &Prompt, cached: i64, output: i64) -> Record {
        let listed = self.prices.iter().find(|price| price.model == prompt.model);
        let cost = listed.map_or(0.0, |price| price.cost(prompt.input, cached, output));
        Record {
            line: 0,
            at,
            team: self.shape.teams[team].clone(),
            model: prompt.model.to_owned(),
            input_tokens: prompt.input,
            output_tokens: output,
            cached_tokens: cached,
            cost: (cost * 1e6).round() / 1e6,
            latency_ms: Some(self.latency(at, prompt.model, output)),
            prompt_hash: Some(format!("{:016x}", prompt.hash)),
        }
    }

    fn latency(&mut self, at: OffsetDateTime, model: &str, output: i64) -> i64 {
        let (first, each) = pace(model);
        let usual = self.rng.log_normal(first + each * output as f64, 0.25);
        let slow = instant(self.slow, 10, 0.0);
        let incident = model == "basalt-pro" && (slow..slow + Duration::hours(6)).contains(&at);
        let stuck = if self.rng.chance(0.003) { self.rng.between(8.0, 20.0) } else { 1.0 };
        (usual * stuck * if incident { 6.0 } else { 1.0 }) as i64
    }
}

struct Prompt {
    hash: u64,
    model: &'static str,
    input: i64,
}

fn habit(team: usize) -> &'static Habit {
    &HABITS[team % HABITS.len()]
}

fn day_of(day: usize) -> Date {
    START + Duration::days(i64::try_from(day).unwrap_or_default())
}

fn is_weekend(day: usize) -> bool {
    matches!(day_of(day).weekday(), Weekday::Saturday | Weekday::Sunday)
}

fn working_day(day: usize) -> usize {
    (0..=day).rev().find(|day| !is_weekend(*day)).unwrap_or(day)
}

fn instant(day: usize, hour: usize, seconds: f64) -> OffsetDateTime {
    let hours = Duration::hours(i64::try_from(hour).unwrap_or_default());
    OffsetDateTime::new_utc(day_of(day), Time::MIDNIGHT) + hours + Duration::seconds(seconds as i64)
}
