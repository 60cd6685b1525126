//! Whose turn it is among the calls that this process has taken from the store: a slow receiver, or an owner with many
//! calls, holds up nobody else. Decides, and does nothing itself.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use insula_context::UserScope;
use insula_infra::WebhookRecord;
use tokio::time::Instant;

use super::target::Target;

/// How long the store keeps a call for us.
pub(super) const HOLD: Duration = Duration::from_secs(120);
/// A call that has waited here for longer is not begun any more: it might be given to another before it has ended.
const BEGIN_WITHIN: Duration = Duration::from_secs(90);
/// Calls that are made at once: in all, of one owner, to one host.
const AT_ONCE: usize = 32;
const AT_ONCE_OF_OWNER: usize = 8;
const AT_ONCE_TO_HOST: usize = 4;
/// Calls that wait here: in all, of one owner.
const WAITING: usize = 1_024;
const WAITING_OF_OWNER: usize = 128;

/// A call that was taken from the store.
#[derive(Debug)]
pub(super) struct Call {
    pub record: WebhookRecord,
    /// `None` when what was stored cannot be read.
    pub target: Option<Target>,
    host: String,
    taken_at: Instant,
}

impl Call {
    fn new(record: WebhookRecord, taken_at: Instant) -> Self {
        let target = Target::read(&record.target);
        let host = target.as_ref().map(Target::host).unwrap_or_default();
        Self { record, target, host, taken_at }
    }

    fn owner(&self) -> &UserScope {
        &self.record.header.scope
    }

    /// What its place among those that are made is given back with.
    pub(super) fn place(&self) -> Place {
        Place { owner: self.owner().clone(), host: self.host.clone() }
    }
}

/// A place among the calls that are made.
#[derive(Debug)]
pub(super) struct Place {
    owner: UserScope,
    host: String,
}

/// The calls that wait here, and how many are made.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: VecDeque<Call>,
    waiting_of: HashMap<UserScope, usize>,
    made: usize,
    made_of: HashMap<UserScope, usize>,
    made_to: HashMap<String, usize>,
}

impl Desk {
    /// Whether more may be taken from the store.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    /// Takes in what the store gave. Those of an owner who has enough here already are let go: the store gives them again
    /// when their hold has run out, behind those of others.
    pub(super) fn take_in(&mut self, records: Vec<WebhookRecord>, now: Instant) {
        for record in records {
            let waiting = self.waiting_of.get(&record.header.scope).copied().unwrap_or(0);
            if waiting < WAITING_OF_OWNER && self.has_room() {
                add(&mut self.waiting_of, &record.header.scope);
                self.waiting.push_back(Call::new(record, now));
            }
        }
    }

    /// The next call that may be made now. Its place is taken.
    pub(super) fn next(&mut self, now: Instant) -> Option<Call> {
        self.let_go_of_old(now);
        if self.made >= AT_ONCE {
            return None;
        }
        let count = |made: Option<&usize>| made.copied().unwrap_or(0);
        let may_go = |call: &Call| {
            count(self.made_of.get(call.owner())) < AT_ONCE_OF_OWNER
                && count(self.made_to.get(&call.host)) < AT_ONCE_TO_HOST
        };
        let place = self.waiting.iter().position(may_go)?;
        let call = self.waiting.remove(place)?;
        subtract(&mut self.waiting_of, call.owner());
        self.made += 1;
        add(&mut self.made_of, call.owner());
        add(&mut self.made_to, &call.host);
        Some(call)
    }

    /// Gives the place of a call back that has been made.
    pub(super) fn made(&mut self, place: &Place) {
        self.made -= 1;
        subtract(&mut self.made_of, &place.owner);
        subtract(&mut self.made_to, &place.host);
    }

    /// They came in the order in which they were taken.
    fn let_go_of_old(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|call| now.duration_since(call.taken_at) > BEGIN_WITHIN) {
            if let Some(call) = self.waiting.pop_front() {
                subtract(&mut self.waiting_of, call.owner());
            }
        }
    }
}

fn add<K: Hash + Eq + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    *counts.entry(key.clone()).or_default() += 1;
}

/// Nothing is kept of those who have nothing.
fn subtract<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use insula_context::{RunId, ScopeIssuer, ThreadId};
    use insula_infra::{RunHeader, WebhookState};
    use serde_json::{json, value::to_raw_value};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    fn record(user: &str, host: &str, number: usize) -> WebhookRecord {
        let target = json!({"url": format!("https://{host}/"), "secret": "at least 16 characters"});
        WebhookRecord {
            header: Arc::new(RunHeader {
                scope: ScopeIssuer::new().issue("acme", user).unwrap(),
                thread: ThreadId::new("t-1").unwrap(),
                run: RunId::new(format!("r-{number}")).unwrap(),
                parent: None,
                agent: "echo".into(),
            }),
            target: to_raw_value(&target).unwrap().into(),
            state: WebhookState::Due,
            attempts: 0,
            next_at: None,
            last_error: None,
            ended_at: None,
        }
    }

    fn records(user: &str, host: &str, count: usize) -> Vec<WebhookRecord> {
        (0..count).map(|number| record(user, host, number)).collect()
    }

    fn begin_all(desk: &mut Desk) -> Vec<Place> {
        std::iter::from_fn(|| desk.next(Instant::now())).map(|call| call.place()).collect()
    }

    #[test]
    fn four_at_once_go_to_one_host_and_the_next_when_one_has_come_back() {
        let mut desk = Desk::default();
        desk.take_in(records("ada", "slow.example", 10), Instant::now());
        desk.take_in(records("bob", "slow.example", 10), Instant::now());
        let begun = begin_all(&mut desk);
        assert_eq!(begun.len(), 4);
        desk.made(&begun[0]);
        assert_eq!(begin_all(&mut desk).len(), 1);
    }

    #[test]
    fn a_slow_host_and_an_owner_with_many_calls_hold_up_nobody() {
        let mut desk = Desk::default();
        desk.take_in(records("ada", "slow.example", 100), Instant::now());
        // Another name for every call.
        desk.take_in((0..28).map(|n| record("ada", &format!("{n}.example"), n)).collect(), Instant::now());
        desk.take_in(records("bob", "quick.example", 1), Instant::now());
        let begun = begin_all(&mut desk);
        assert_eq!(begun.iter().filter(|place| place.owner.user().as_str() == "ada").count(), AT_ONCE_OF_OWNER);
        assert_eq!(begun.last().unwrap().host, "quick.example");
    }

    #[test]
    fn no_more_than_32_are_made_at_once() {
        let mut desk = Desk::default();
        for user in 0..40 {
            desk.take_in(records(&format!("u-{user}"), &format!("{user}.example"), 2), Instant::now());
        }
        assert_eq!(begin_all(&mut desk).len(), AT_ONCE);
    }

    #[test]
    fn what_one_owner_has_here_is_bounded_and_so_is_what_all_have() {
        let mut desk = Desk::default();
        desk.take_in(records("ada", "slow.example", 10_000), Instant::now());
        assert_eq!(desk.waiting.len(), WAITING_OF_OWNER);
        for user in 0..20 {
            desk.take_in(records(&format!("u-{user}"), "slow.example", 200), Instant::now());
        }
        assert_eq!(desk.waiting.len(), WAITING);
        assert!(!desk.has_room());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waited_too_long_is_left_to_whoever_gets_it_next_and_nothing_is_kept_of_it() {
        let mut desk = Desk::default();
        desk.take_in(records("ada", "slow.example", 5), Instant::now());
        let begun = begin_all(&mut desk);
        tokio::time::advance(BEGIN_WITHIN + Duration::from_secs(1)).await;
        begun.iter().for_each(|place| desk.made(place));
        assert!(desk.next(Instant::now()).is_none());
        assert!(desk.waiting.is_empty() && desk.waiting_of.is_empty());
        assert!(desk.made == 0 && desk.made_of.is_empty() && desk.made_to.is_empty());
    }
}
