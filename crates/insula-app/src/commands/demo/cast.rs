//! The five users, each with a data file of their own.

use std::path::PathBuf;

use insula_context::{Canceller, RandomIds, RunId, ThreadId, UserExecutionContext, UserScope};
use spend_report::{Shape, generate};

use crate::{
    config::Settings,
    exit::{Kind, Stop},
    identity, wiring,
};

/// Everybody's conversation has the same name: it is five conversations all the same.
const THREAD: &str = "monthly-spend";

/// Name, teams, and so many rows in a thousand that cannot be read.
const PEOPLE: [(&str, [&str; 4], u32); 5] = [
    ("ada", ["support", "search", "research", "billing"], 2),
    ("ben", ["growth", "platform", "nightly-batch", "sales"], 5),
    ("chloe", ["design", "video", "translation", "archive"], 1),
    ("dmitri", ["risk", "fraud", "claims", "audit"], 4),
    ("emeka", ["maps", "routing", "depot", "fleet"], 3),
];

/// One user.
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) scope: UserScope,
    pub(super) context: UserExecutionContext,
    /// The data file, as the agent is given it.
    pub(super) file: String,
    /// How many of its rows cannot be read.
    pub(super) malformed: u32,
    /// A word that stands in this user's data and in nobody else's.
    pub(super) secret: String,
}

/// Makes all five, and writes their files down. `stop` stops everybody's run, also one that has not begun yet.
pub(super) fn invent(rows: u32, settings: &Settings, stop: &Canceller) -> Result<Vec<User>, Stop> {
    let folder = settings.data_dir.join("data");
    wiring::make_private(&folder)?;
    let people = PEOPLE.iter().zip(1..);
    people.map(|(person, seed)| user(person, seed, rows, folder.join(format!("{}.csv", person.0)), stop)).collect()
}

fn user(
    (name, teams, per_mille): &(&'static str, [&str; 4], u32),
    seed: u64,
    rows: u32,
    path: PathBuf,
    stop: &Canceller,
) -> Result<User, Stop> {
    // Every team's name carries its owner's, so that a row that went astray is seen wherever it turns up.
    let teams = teams.iter().map(|team| format!("{name}s-{team}")).collect();
    let malformed = (rows * per_mille / 1_000).max(1).min(rows / 2);
    let shape = Shape { teams, malformed: malformed as usize, ..Shape::default() };
    let file = generate(seed, rows as usize, &shape);
    std::fs::write(&path, &file)
        .map_err(|error| Stop::new(Kind::Storage, format!("{} cannot be written", path.display())).because(error))?;
    let scope = identity::invented(name)?;
    let context = UserExecutionContext::builder(scope.clone(), ThreadId::new(THREAD)?, RunId::generate(&RandomIds))
        .cancellation(stop.cancellation())
        .build()?;
    Ok(User { name, scope, context, file, malformed, secret: format!("{name}s-") })
}
