//! A user's schedules, and which of all users' are due.

use std::collections::BTreeSet;

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};

use super::{shard::lock, store::Store};
use crate::{Error, ScheduleRecord, ScheduleStore};

/// When schedules are due, the next one first.
pub(super) type Slots = BTreeSet<(Timestamp, UserScope, String)>;

#[async_trait]
impl ScheduleStore for Store {
    async fn put_schedule(&self, scope: &UserScope, schedule: ScheduleRecord) -> Result<(), Error> {
        let mut shard = self.shards.lock(scope);
        let owner = shard.owners.entry(scope.clone()).or_default();
        let (name, to) = (schedule.name.clone(), schedule.next_at);
        let from = owner.schedules.insert(name.clone(), schedule).and_then(|before| before.next_at);
        self.move_slot(scope, &name, from, to);
        Ok(())
    }

    async fn schedules(&self, scope: &UserScope) -> Result<Vec<ScheduleRecord>, Error> {
        Ok(self.read(scope, |owner| Some(owner.schedules.values().cloned().collect())).unwrap_or_default())
    }

    async fn delete_schedule(&self, scope: &UserScope, name: &str) -> Result<bool, Error> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return Ok(false) };
        let Some(removed) = owner.schedules.remove(name) else { return Ok(false) };
        self.move_slot(scope, name, removed.next_at, None);
        shard.drop_if_empty(scope);
        Ok(true)
    }
}

impl Store {
    pub(super) fn due(&self, max: usize, now: Timestamp) -> Vec<(UserScope, ScheduleRecord)> {
        let slots: Vec<_> = lock(&self.slots).iter().take_while(|(at, ..)| *at <= now).take(max).cloned().collect();
        // Between the two locks a slot may have moved: what stands there now counts.
        let stands = |(_, scope, name): (_, UserScope, String)| {
            let found = self.read(&scope, |owner| owner.schedules.get(&name).cloned())?;
            found.next_at.is_some_and(|at| at <= now).then_some((scope, found))
        };
        slots.into_iter().filter_map(stands).collect()
    }

    pub(super) fn advance(&self, scope: &UserScope, name: &str, from: Timestamp, to: Option<Timestamp>) -> bool {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return false };
        let Some(schedule) = owner.schedules.get_mut(name).filter(|it| it.next_at == Some(from)) else { return false };
        schedule.next_at = to;
        self.move_slot(scope, name, Some(from), to);
        true
    }

    pub(super) fn move_slot(&self, scope: &UserScope, name: &str, from: Option<Timestamp>, to: Option<Timestamp>) {
        let mut slots = lock(&self.slots);
        let slot = |at| (at, scope.clone(), name.to_owned());
        if let Some(from) = from {
            slots.remove(&slot(from));
        }
        slots.extend(to.map(slot));
    }
}
