//! Everything that one user can look at when all is over, by every name that anybody knows.

use std::collections::BTreeSet;

use insula_agent::kit::PLANTED;
use insula_context::RunId;
use insula_infra::{PayloadHash, StateKey, StateSpace};

use super::{cast::Person, secrets::others};
use crate::support::{
    Island,
    log::{events_of_run, events_of_thread, runs_of},
    words,
};

/// What one person saw: where, and in which words.
pub(super) struct Sight {
    pub(super) person: Person,
    pub(super) runs: Vec<RunId>,
    foreign: Vec<Person>,
    seen: Vec<(&'static str, String)>,
}

impl Sight {
    /// Every place in which somebody else's secret was seen.
    pub(super) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (place, words) in &self.seen {
            for other in self.foreign.iter().filter(|other| words.contains(&other.secret)) {
                let start: String = words.chars().take(200).collect();
                leaks.push(format!("{} saw the secret of {} in: {place} ({start}…)", self.person.scope, other.scope));
            }
        }
        leaks
    }

    pub(super) fn finds_own_in(&self, place: &str) -> bool {
        self.seen.iter().any(|(seen, words)| *seen == place && words.contains(&self.person.secret))
    }
}

/// Looks at everything with this person's scope.
pub(super) async fn search(
    island: &Island,
    person: &Person,
    people: &[Person],
    said: Vec<(&'static str, String)>,
) -> Sight {
    let mut seen = said;
    look_at_the_log(island, person, people, &mut seen).await;
    look_at_payloads(island, person, people, &mut seen).await;
    look_at_state(island, person, people, &mut seen).await;
    look_at_the_cache(island, person, people, &mut seen).await;
    look_at_rows(island, person, &mut seen).await;
    let runs = runs_of(island.ports(), &person.scope).await.iter().map(|record| record.header.run.clone()).collect();
    Sight { person: person.clone(), runs, foreign: others(person, people).cloned().collect(), seen }
}

type Seen = Vec<(&'static str, String)>;

async fn look_at_the_log(island: &Island, person: &Person, people: &[Person], seen: &mut Seen) {
    for record in runs_of(island.ports(), &person.scope).await {
        seen.push(("run", serde_json::to_string(&record).unwrap() + record.input.get()));
        seen.push(("event", words(&events_of_run(island.ports(), &person.scope, &record.header.run).await)));
    }
    for theirs in people {
        let (_, events) = events_of_thread(island.ports(), &person.scope, &theirs.thread).await;
        seen.push(("event", words(&events)));
        seen.push(("event", words(&events_of_run(island.ports(), &person.scope, &theirs.run).await)));
    }
}

/// Fetches every payload that anybody's log refers to, by its hash.
async fn look_at_payloads(island: &Island, person: &Person, people: &[Person], seen: &mut Seen) {
    for theirs in people {
        let (_, events) = events_of_thread(island.ports(), &theirs.scope, &theirs.thread).await;
        for hash in hashes(&words(&events)) {
            let bytes = island.ports().log.payload(&person.scope, &hash).await.unwrap();
            seen.extend(bytes.map(|bytes| ("payload", String::from_utf8_lossy(&bytes).into_owned())));
        }
    }
}

fn hashes(words: &str) -> BTreeSet<PayloadHash> {
    let after = words.split("\"$payload\":\"").skip(1);
    after.map(|rest| rest[..64].parse().unwrap()).collect()
}

async fn look_at_state(island: &Island, person: &Person, people: &[Person], seen: &mut Seen) {
    for theirs in people {
        let spaces = [
            StateSpace::Run(theirs.run.clone()),
            StateSpace::Thread(theirs.thread.clone()),
            StateSpace::User,
            StateSpace::Agent("leaky".to_owned()),
            StateSpace::Agent(theirs.scope.user().to_string()),
        ];
        for space in spaces {
            let key = StateKey { space, name: PLANTED.to_owned() };
            let found = island.ports().state.get(&person.scope, &key).await.unwrap();
            seen.extend(found.map(|found| ("state", found.value.get().to_owned())));
        }
    }
}

async fn look_at_the_cache(island: &Island, person: &Person, people: &[Person], seen: &mut Seen) {
    let Some(cache) = &island.ports().cache else { return };
    let names = people.iter().map(|theirs| format!("{}/{PLANTED}", theirs.scope)).chain([PLANTED.to_owned()]);
    for name in names {
        let found = cache.get(&person.scope, &name).await.unwrap();
        seen.extend(found.map(|found| ("cache", String::from_utf8_lossy(&found).into_owned())));
    }
}

async fn look_at_rows(island: &Island, person: &Person, seen: &mut Seen) {
    let Some(database) = &island.ports().database else { return };
    let mut session = database.open(&person.scope).await.unwrap();
    for row in session.fetch("SELECT secret FROM planted", &[]).await.unwrap() {
        seen.push(("row", row.to_json().to_string()));
    }
}
