//! An event as it came over the wire, to the byte.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::web::Caller;

/// An event as somebody was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) kind: String,
    pub(super) run: String,
    /// The whole of it, as it was sent.
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Envelope {
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    run_id: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl Told {
    pub(super) fn read(text: &str) -> Self {
        let Envelope { seq, kind, run_id } = serde_json::from_str(text).unwrap();
        Self { seq, kind, run: run_id, text: text.to_owned() }
    }

    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Whether it is the end of this run.
    pub(super) fn ends(&self, run: &str) -> bool {
        let is_end = ["agent_completed", "agent_failed", "agent_cancelled"].contains(&self.kind.as_str());
        is_end && self.run == run
    }
}

/// Everything that the log says at this path, page by page.
pub(super) async fn log_at(caller: &Caller, path: &str) -> Vec<Told> {
    let mut log: Vec<Told> = Vec::new();
    loop {
        let after = log.last().map_or(0, |told| told.seq);
        let page = caller.get(&format!("{path}?after={after}&limit=1000")).await;
        page.is(200);
        let Page { events } = serde_json::from_str(&page.text).unwrap();
        if events.is_empty() {
            return log;
        }
        log.extend(events.iter().map(|event| Told::read(event.get())));
    }
}

pub(super) async fn log_of(caller: &Caller, run: &str) -> Vec<Told> {
    log_at(caller, &format!("/v1/runs/{run}/events")).await
}

/// The log of a run, once its end is in it.
pub(super) async fn ended_log(caller: &Caller, run: &str) -> Vec<Told> {
    crate::support::until_async(&format!("{run} has ended"), async || {
        !caller.get(&format!("/v1/runs/{run}")).await.is(200)["ended_at"].is_null()
    })
    .await;
    log_of(caller, run).await
}

/// Holds what a client has against the log: the same bytes, no gap, no duplicate, one end of the run.
pub(super) fn same(what: &str, had: &[Told], log: &[Told], run: &str) {
    let words = |list: &[Told]| list.iter().map(|told| told.text.clone()).collect::<Vec<_>>();
    assert_eq!(words(had), words(log), "{what}");
    assert!(had.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{what}: not in order");
    assert_eq!(had.iter().filter(|told| told.ends(run)).count(), 1, "{what}: one end");
}
