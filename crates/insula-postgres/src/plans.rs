//! What single users may have. Plans hang on an owner's number, which outlives what the owner has here.

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{Error, PlanStore, RawJson};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    owners, rows,
    store::Store,
    transaction::{Kind, Tx},
};

#[async_trait]
impl PlanStore for Store {
    async fn plans(&self) -> Result<Vec<(UserScope, RawJson)>, Error> {
        self.across("read plans", Kind::Read, (), |tx, ()| Box::pin(all(tx))).await
    }

    async fn put_plan(&self, scope: &UserScope, plan: RawJson) -> Result<(), Error> {
        self.write("write a plan", scope, plan, |tx, plan| Box::pin(put(tx, plan))).await
    }

    async fn delete_plan(&self, scope: &UserScope) -> Result<bool, Error> {
        Ok(self.change("delete a plan", scope, (), |tx, ()| Box::pin(delete(tx))).await?.unwrap_or(false))
    }
}

async fn all(tx: &mut Tx) -> Worked<Vec<(UserScope, RawJson)>> {
    const OWNERS: &str = "SELECT insula.owners_with_plans()";
    const ALL: &str = "SELECT o.tenant_id, o.user_id, p.plan FROM insula.plans p
        JOIN insula.owners o ON o.owner_no = p.owner_no WHERE p.owner_no = ANY($1) ORDER BY o.tenant_id, o.user_id";
    let owners: Vec<i64> = sqlx::query_scalar(OWNERS).fetch_one(tx.on()).await?;
    tx.enter(&owners).await?;
    let rows = sqlx::query(ALL).bind(owners).fetch_all(tx.on()).await?;
    rows.iter().map(|row| plan(row, &tx.server)).collect()
}

/// Damaged, it is an error: who is passed over here would have what everybody has, and that may be more.
fn plan(row: &PgRow, server: &Server) -> Worked<(UserScope, RawJson)> {
    let scope = owners::read_back(row.try_get(0)?, row.try_get(1)?, server)?;
    let damaged = || server.corrupt(format!("the plan of {scope}"), "it is not JSON");
    let plan = rows::json(row.try_get(2)?).ok_or_else(damaged)?;
    Ok((scope, plan))
}

async fn put(tx: &mut Tx, plan: &RawJson) -> Worked<()> {
    const PUT: &str = "INSERT INTO insula.plans (owner_no, plan) VALUES ($1, $2)
        ON CONFLICT (owner_no) DO UPDATE SET plan = excluded.plan";
    let owner = tx.owner;
    sqlx::query(PUT).bind(owner).bind(plan.get()).execute(tx.on()).await?;
    Ok(())
}

async fn delete(tx: &mut Tx) -> Worked<bool> {
    const DELETE: &str = "DELETE FROM insula.plans WHERE owner_no = $1";
    let owner = tx.owner;
    Ok(sqlx::query(DELETE).bind(owner).execute(tx.on()).await?.rows_affected() > 0)
}
