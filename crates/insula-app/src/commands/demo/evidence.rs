//! What is counted afterwards: in the log, in the stores, in the factories and in the metrics.

use std::{collections::BTreeMap, time::Duration};

use insula_context::UserScope;
use insula_engine::{EventStream, ExecutionEngineFactory, Metrics, StreamItem};
use insula_infra::{Event, EventType, PageRequest, RunFilter, RunStatus};
use serde_json::Value;
use spend_report::agents::Outcome;

use super::{cast::User, stage::Played};
use crate::{config::Settings, exit::Stop, wiring};

/// Everything that the verdict is made of.
pub(super) struct Evidence {
    pub(super) people: Vec<Person>,
    pub(super) events: BTreeMap<&'static str, usize>,
    pub(super) metrics: Metrics,
    pub(super) violations: usize,
    pub(super) open_sessions: usize,
    /// Events, runs and words of one user that another can reach.
    pub(super) foreign: usize,
    /// Events of the log that their owner's reader was not given, or was given twice.
    pub(super) lost: usize,
}

/// What one user's log says.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) status: Option<RunStatus>,
    pub(super) took: Option<Duration>,
    pub(super) events: usize,
    pub(super) tools: usize,
    pub(super) message: Option<String>,
    pub(super) outcome: Option<Outcome>,
    /// Report files that are named and really there.
    pub(super) reports: Vec<std::path::PathBuf>,
}

/// Looks at everything.
pub(super) async fn gather(
    factory: &ExecutionEngineFactory,
    settings: &Settings,
    cast: &[User],
    played: &Played,
) -> Result<Evidence, Stop> {
    let mut logs = Vec::new();
    for user in cast {
        logs.push(log(factory, user).await?);
    }
    let mut people = Vec::new();
    for (n, (user, log)) in cast.iter().zip(&logs).enumerate() {
        let refused = played.refused.iter().find(|(refused, _)| *refused == n).map(|(_, why)| why.clone());
        people.push(person(factory, settings, user, log, refused).await?);
    }
    let mut events = BTreeMap::new();
    for event in logs.iter().flatten() {
        *events.entry(event.kind.as_str()).or_default() += 1;
    }
    let sequence = |events: &[Event]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    let lost = logs.iter().zip(&played.read).map(|(log, read)| difference(&sequence(log), &sequence(read))).sum();
    let database = factory.backend().database.as_ref();
    Ok(Evidence {
        people,
        events,
        metrics: factory.metrics(),
        violations: factory.isolation_report().violations.len(),
        open_sessions: database.map_or(0, |database| database.open_sessions()),
        foreign: foreign(factory, cast, &logs).await?,
        lost,
    })
}

/// The whole log of a user's conversation, read again from its start.
async fn log(factory: &ExecutionEngineFactory, user: &User) -> Result<Vec<Event>, Stop> {
    let mut stream = EventStream::thread(factory.backend(), &user.scope, user.context.thread(), 0);
    let mut events = Vec::new();
    loop {
        let items = stream.ready().await?;
        if items.is_empty() {
            return Ok(events);
        }
        events.extend(items.into_iter().filter_map(|item| match item {
            StreamItem::Event(event) => Some(event),
            StreamItem::Gap { .. } => None,
        }));
    }
}

async fn person(
    factory: &ExecutionEngineFactory,
    settings: &Settings,
    user: &User,
    log: &[Event],
    refused: Option<String>,
) -> Result<Person, Stop> {
    let record = factory.backend().runs.run(&user.scope, user.context.run()).await?;
    let last = log.iter().rev().find(|event| event.header.run == *user.context.run() && event.kind.is_terminal());
    let data: Value = last.and_then(|event| event.data().ok()).unwrap_or_default();
    let outcome: Option<Outcome> = serde_json::from_value(data["result"].clone()).ok();
    let files =
        outcome.iter().flat_map(|outcome| &outcome.files).map(|file| wiring::reports(settings).join(&file.path));
    let said = data["message"].as_str().or(data["why"].as_str()).map(str::to_owned);
    Ok(Person {
        name: user.name,
        status: record.as_ref().map(|record| record.status),
        took: record.and_then(|record| Some(record.ended_at?.since(record.created_at))),
        events: log.len(),
        tools: log.iter().filter(|event| event.kind == EventType::ToolCompleted).count(),
        message: refused.or(said),
        reports: files.filter(|path| path.is_file()).collect(),
        outcome,
    })
}

/// How many entries are not in both, repetitions counted.
fn difference(log: &[u64], read: &[u64]) -> usize {
    let mut balance: BTreeMap<u64, i64> = BTreeMap::new();
    log.iter().for_each(|seq| *balance.entry(*seq).or_default() += 1);
    read.iter().for_each(|seq| *balance.entry(*seq).or_default() -= 1);
    balance.values().filter(|count| **count != 0).count()
}

/// Ways to meet somebody else: their events or words in one's log, their runs by id, runs that one did not start.
async fn foreign(factory: &ExecutionEngineFactory, cast: &[User], logs: &[Vec<Event>]) -> Result<usize, Stop> {
    let mut found = 0;
    for (user, log) in cast.iter().zip(logs) {
        let others: Vec<&User> = cast.iter().filter(|other| other.scope != user.scope).collect();
        let secrets: Vec<&str> = others.iter().map(|other| other.secret.as_str()).collect();
        found += strangers(log, &user.scope, &secrets);
        for other in others {
            found += usize::from(factory.backend().runs.run(&user.scope, other.context.run()).await?.is_some());
        }
        found += unexpected_runs(factory, user, log).await?;
    }
    Ok(found)
}

/// Events of a user's log that are somebody else's, or that tell of somebody else.
fn strangers(log: &[Event], owner: &UserScope, secrets: &[&str]) -> usize {
    let tells = |event: &Event| secrets.iter().any(|secret| event.data.get().contains(secret));
    log.iter().filter(|event| event.header.scope != *owner || tells(event)).count()
}

/// Runs that are listed for a user although their log knows nothing of them.
async fn unexpected_runs(factory: &ExecutionEngineFactory, user: &User, log: &[Event]) -> Result<usize, Stop> {
    let page = PageRequest { cursor: None, limit: 1_000 };
    let listed = factory.backend().runs.runs(&user.scope, &RunFilter::default(), &page).await?;
    let is_known = |run: &insula_context::RunId| log.iter().any(|event| event.header.run == *run);
    Ok(listed.items.iter().filter(|record| !is_known(&record.header.run)).count())
}

#[cfg(test)]
mod tests {
    use insula_infra::EventType;
    use serde_json::json;

    use super::*;
    use crate::{identity, samples::event};

    #[test]
    fn an_event_of_somebody_else_and_a_word_about_somebody_else_are_counted() {
        let say = |text: &str| event("r", None, EventType::AgentThinking, 0, &json!({"text": text}));
        let log = [say("adas-search spends most"), say("bens-growth spends most"), say("nothing to tell")];
        let scope = |name| identity::invented(name).expect("a user");
        assert_eq!(strangers(&log, &scope("ada"), &["bens-", "emekas-"]), 1);
        assert_eq!(strangers(&log, &scope("ben"), &["adas-"]), 3);
        assert_eq!(strangers(&log, &scope("ada"), &["chloes-"]), 0);
    }

    #[test]
    fn a_lost_and_a_repeated_event_are_both_counted() {
        assert_eq!(difference(&[1, 2, 3], &[1, 2, 3]), 0);
        assert_eq!(difference(&[1, 2, 3], &[1, 3, 3]), 2);
        assert_eq!(difference(&[], &[9]), 1);
    }
}
