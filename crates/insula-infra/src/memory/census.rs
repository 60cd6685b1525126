//! Counts over all users: a look at every run that is remembered, one shard after the other.

use std::collections::BTreeMap;

use async_trait::async_trait;
use insula_context::Timestamp;

use super::{
    owner::{Owner, Place, Run},
    shard::lock,
    store::Store,
};
use crate::{Census, Counts, Error, NodeRecord, RunStatus};

#[async_trait]
impl Census for Store {
    async fn counts(&self) -> Result<Counts, Error> {
        let now = self.clock.now();
        let mut counts = Counts::default();
        for shard in self.shards.each() {
            shard.owners.values().for_each(|owner| count(&mut counts, owner, now));
        }
        counts.webhooks_due = lock(&self.bell).len() as u64;
        Ok(counts)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, Error> {
        let now = self.clock.now();
        let renewed: Vec<_> = lock(&self.workers).iter().map(|(worker, until)| (worker.clone(), *until)).collect();
        let mut nodes = BTreeMap::new();
        for shard in self.shards.each() {
            for run in shard.owners.values().flat_map(|owner| owner.runs.values()) {
                let Place::Held(holder) = &run.place else { continue };
                note(&mut nodes, holder.worker.as_str(), holder.until, 1);
            }
        }
        for (worker, until) in renewed {
            if until > now || nodes.contains_key(worker.as_str()) {
                note(&mut nodes, worker.as_str(), until, 0);
            }
        }
        Ok(nodes.into_values().collect())
    }
}

fn count(counts: &mut Counts, owner: &Owner, now: Timestamp) {
    let mut open = 0;
    for run in owner.runs.values().filter(|run| !run.has_ended()) {
        open += 1;
        *place(counts, run, now) += 1;
        if let Some(since) = ready_since(run, now) {
            let waited = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
            counts.oldest_queued_ms = counts.oldest_queued_ms.max(waited);
        }
    }
    counts.users += u64::from(open > 0);
    counts.webhooks_dead += owner.calls.values().filter(|call| call.is_dead()).count() as u64;
}

/// Which of the counts a run belongs to that has not ended.
fn place<'c>(counts: &'c mut Counts, run: &Run, now: Timestamp) -> &'c mut u64 {
    match (&run.place, run.record.status) {
        (Place::Held(_), _) => &mut counts.running,
        (Place::Blocked, _) => &mut counts.blocked,
        _ if ready_since(run, now).is_some() => &mut counts.queued,
        (_, RunStatus::Waiting) => &mut counts.waiting,
        _ => &mut counts.delayed,
    }
}

/// Since when a run is to be claimed.
fn ready_since(run: &Run, now: Timestamp) -> Option<Timestamp> {
    match run.place {
        Place::Ready => Some(run.ready_since),
        // It is put into the line by the next one who claims.
        Place::Asleep(Some((at, _))) if at <= now => Some(at),
        _ => None,
    }
}

fn note(nodes: &mut BTreeMap<String, NodeRecord>, worker: &str, until: Timestamp, runs: u64) {
    let new = || NodeRecord { worker: worker.to_owned(), runs: 0, lease_until: until };
    let node = nodes.entry(worker.to_owned()).or_insert_with(new);
    node.runs += runs;
    node.lease_until = node.lease_until.max(until);
}
