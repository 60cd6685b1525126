//! What a run is to do: a small pure description, drawn from the seed and given to the agent as its input.

use insula_agent::Effect;
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Children of children of children, and no deeper.
const DEPTH: u64 = 3;

/// What one run does, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One after the other.
    pub ops: Vec<Op>,
}

/// One thing that a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A recorded step.
    Step(Effect),
    /// A call of the tool of this effect.
    Tool {
        /// What it means to repeat it.
        effect: Effect,
        /// Whether the tool returns an error.
        fails: bool,
        /// How long it takes.
        millis: u64,
    },
    /// A child run.
    Child(Plan),
    /// A pause of this many milliseconds.
    Sleep(u64),
    /// A question.
    Ask(Asked),
    /// 64 random bits.
    Random,
    /// The time.
    Now,
    /// Adds one to the user's counter, by compare-and-set.
    Count,
    /// Two things at once.
    Pair(Box<Op>, Box<Op>),
    /// Ends the run with an error.
    Fail,
    /// Panics.
    Panic,
}

/// A question, and what people do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Whether somebody answers.
    pub answered: bool,
    /// After how many milliseconds it expires.
    pub expires: Option<u64>,
    /// Whether there is an answer that counts then.
    pub default: bool,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(rng: &Rng) -> Self {
        Self::at_depth(rng, 0)
    }

    fn at_depth(rng: &Rng, depth: u64) -> Self {
        let length = rng.between(1, 6 - depth);
        let mut ops: Vec<Op> = (0..length).map(|_| op(rng, depth)).collect();
        if rng.chance(80) {
            ops.push(if rng.chance(500) { Op::Fail } else { Op::Panic });
        }
        Self { ops }
    }

    /// Every thing that it does, with its place, those of pairs one by one.
    pub fn leaves(&self) -> Vec<(String, &Op)> {
        let mut leaves = Vec::new();
        for (place, op) in self.ops.iter().enumerate() {
            match op {
                Op::Pair(one, two) => leaves.extend([(format!("{place}a"), &**one), (format!("{place}b"), &**two)]),
                op => leaves.push((place.to_string(), op)),
            }
        }
        leaves
    }

    /// Whether it asks something that nobody will answer and that does not expire, itself or in a child.
    pub fn never_ends(&self) -> bool {
        self.leaves().iter().any(|(_, op)| match op {
            Op::Ask(asked) => !asked.answered && asked.expires.is_none(),
            Op::Child(plan) => plan.never_ends(),
            _ => false,
        })
    }

    /// Milliseconds that it takes at most, undisturbed.
    pub fn millis(&self) -> u64 {
        self.ops.iter().map(Op::millis).sum()
    }

    /// How many runs it makes, itself included.
    pub fn runs(&self) -> u64 {
        let children =
            self.leaves().iter().map(|(_, op)| if let Op::Child(plan) = op { plan.runs() } else { 0 }).sum::<u64>();
        1 + children
    }
}

impl Op {
    fn millis(&self) -> u64 {
        match self {
            Self::Tool { millis, .. } | Self::Sleep(millis) => *millis,
            Self::Child(plan) => plan.millis() + 1_000,
            Self::Ask(asked) => asked.expires.unwrap_or(0) + 10_000,
            Self::Pair(one, two) => one.millis() + two.millis(),
            _ => 100,
        }
    }
}

fn op(rng: &Rng, depth: u64) -> Op {
    match rng.below(100) {
        0..70 => single(rng, depth),
        70..82 => Op::Pair(Box::new(single(rng, depth)), Box::new(quick(rng))),
        82..88 => Op::Ask(asked(rng)),
        88..94 => Op::Count,
        94..97 => Op::Now,
        _ => Op::Random,
    }
}

fn single(rng: &Rng, depth: u64) -> Op {
    match rng.below(100) {
        0..20 if depth < DEPTH => Op::Child(Plan::at_depth(rng, depth + 1)),
        20..30 => Op::Sleep(rng.between(1_000, 15_000)),
        _ => quick(rng),
    }
}

fn quick(rng: &Rng) -> Op {
    let effect = rng.pick(&[Effect::Pure, Effect::Idempotent, Effect::Once, Effect::Compensable]);
    match rng.below(10) {
        0..3 => Op::Step(effect),
        3..5 => Op::Sleep(rng.between(1, 800)),
        _ => Op::Tool { effect, fails: rng.chance(150), millis: rng.pick(&[0, 0, 5, 300, 2_000]) },
    }
}

fn asked(rng: &Rng) -> Asked {
    let answered = rng.chance(700);
    // Few of those that nobody answers stay open for ever: each costs the seed a whole run.
    let expires = (answered && rng.chance(300) || !answered && rng.chance(800)).then(|| rng.between(500, 12_000));
    Asked { answered, expires, default: rng.chance(600) }
}
