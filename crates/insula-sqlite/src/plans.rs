//! What single users may have. Plans stand under names and not under an owner's number, because they outlive the owner.

use std::sync::Arc;

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{Error, PlanStore, RawJson};
use rusqlite::{Connection, params};
use serde_json::value::RawValue;

use crate::{
    claim,
    error::{File, Stop},
    store::Store,
};

#[async_trait]
impl PlanStore for Store {
    async fn plans(&self) -> Result<Vec<(UserScope, RawJson)>, Error> {
        let file = self.file.clone();
        self.readers.read(move |connection| all(connection, &file)).await
    }

    async fn put_plan(&self, scope: &UserScope, plan: RawJson) -> Result<(), Error> {
        const PUT: &str = "INSERT INTO plans (tenant_id, user_id, plan) VALUES (?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET plan = excluded.plan";
        let scope = scope.clone();
        self.writer
            .call(move |tx| {
                let values = params![scope.tenant().as_str(), scope.user().as_str(), plan.get()];
                tx.connection.prepare_cached(PUT)?.execute(values)?;
                Ok(())
            })
            .await
    }

    async fn delete_plan(&self, scope: &UserScope) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM plans WHERE tenant_id = ?1 AND user_id = ?2";
        let scope = scope.clone();
        self.writer
            .call(move |tx| {
                let values = params![scope.tenant().as_str(), scope.user().as_str()];
                Ok(tx.connection.prepare_cached(DELETE)?.execute(values)? > 0)
            })
            .await
    }
}

fn all(connection: &Connection, file: &File) -> Result<Vec<(UserScope, RawJson)>, Stop> {
    const ALL: &str = "SELECT tenant_id, user_id, plan FROM plans ORDER BY tenant_id, user_id";
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    let mut plans = Vec::new();
    while let Some(row) = rows.next()? {
        let scope = claim::scope(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, file)?;
        let plan = RawValue::from_string(row.get(2)?);
        let plan = plan.map_err(|error| file.corrupt(format!("the plan of {scope}"), error.to_string()))?;
        plans.push((scope, Arc::from(plan)));
    }
    Ok(plans)
}
