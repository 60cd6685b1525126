//! What users have used, day by day. It outlives their runs and threads.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};

use super::{shard::Map, store::Store};
use crate::{Error, RunRecord, Spent, UsageRow, UsageStore};

/// What the owners of a shard have used.
#[derive(Debug, Default)]
pub(super) struct Used(Map<UserScope, BTreeMap<(i64, Arc<str>), UsageRow>>);

impl Used {
    /// Counts a run that has ended.
    pub(super) fn count_end(&mut self, run: &RunRecord) {
        let Some(ended) = run.ended_at else { return };
        let micros = UsageRow::micros(run.started_at, ended);
        self.row(&run.header.scope, &run.header.agent, ended).add_end(run.status, micros);
    }

    /// Counts what calls have cost.
    pub(super) fn count_spent(&mut self, run: &RunRecord, at: Timestamp, spent: &[Spent]) {
        let row = self.row(&run.header.scope, &run.header.agent, at);
        spent.iter().for_each(|spent| row.add_spent(&spent.amounts));
    }

    /// Forgets what a user has used.
    pub(super) fn forget(&mut self, scope: &UserScope) {
        self.0.remove(scope);
    }

    fn row(&mut self, scope: &UserScope, agent: &Arc<str>, at: Timestamp) -> &mut UsageRow {
        if !self.0.contains_key(scope) {
            self.0.insert(scope.clone(), BTreeMap::new());
        }
        let day = UsageRow::day_of(at);
        let rows = self.0.entry(scope.clone()).or_default();
        rows.entry((day, Arc::clone(agent))).or_insert_with(|| UsageRow::new(day, agent))
    }

    fn of(&self, scope: &UserScope, from: i64, to: i64) -> Vec<UsageRow> {
        let days = self.0.get(scope).into_iter().flatten();
        days.filter(|((day, _), _)| (from..=to).contains(day)).map(|(_, row)| row.clone()).collect()
    }
}

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, scope: &UserScope, from: i64, to: i64) -> Result<Vec<UsageRow>, Error> {
        Ok(self.shards.lock(scope).used.of(scope, from, to))
    }
}
