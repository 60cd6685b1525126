//! Accounts in the database of this machine. Whoever may write to it may do for everybody what an admin may.

use async_trait::async_trait;
use insula_client::{Json, Page};
use insula_context::{Clock, RunId, SystemClock, UserScope};
use insula_infra::{Backend, KeyRecord, NewAuditEntry, WebhookState, audit};
use insula_server::{
    auth::{Access, Authenticator, Error as AuthError, MintedKey, NewKey, Role, Roles},
    wire::{AuditList, Days, Items, Key, Node, ShownKey, UsageReport, Webhook},
};
use serde_json::{Value, json};

use super::{
    super::account::{Account, KeyOrder, Reach, Verdict, Whose},
    Here, first, found,
};
use crate::{exit::Stop, identity};

/// How many users are looked up at once.
const BATCH: usize = 500;

impl Here {
    /// Whoever is meant; `None` for everybody.
    fn owner_of(&self, whose: &Whose) -> Result<Option<UserScope>, Stop> {
        match whose {
            Whose::Own => self.scope().map(Some),
            Whose::Of(named) => identity::named(&named.tenant, &named.user).map(Some),
            Whose::All => Ok(None),
        }
    }

    /// Writes down, in the log of the user whose key it is, what became of it.
    async fn written(&self, backend: &Backend, action: &str, record: &KeyRecord) -> Result<(), Stop> {
        let by = self.scope()?;
        let KeyRecord { id, name, grants, expires_at, .. } = record;
        let detail = json!({
            "by": {"tenant_id": by.tenant(), "user_id": by.user(), "credential": {"command_line": true}},
            "on": {"key_id": id, "name": name, "grants": grants, "expires_at": expires_at},
        });
        let detail = serde_json::value::to_raw_value(&detail).map_err(insula_client::Error::from)?.into();
        let entry = NewAuditEntry { at: SystemClock::new().now(), action: action.to_owned(), detail };
        backend.audit.add_audit(&record.scope, entry).await?;
        Ok(())
    }
}

fn authenticator(backend: &Backend) -> Result<Authenticator, Stop> {
    Ok(Authenticator::builder(backend.keys.clone()).build()?)
}

impl From<AuthError> for Stop {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store { source, .. } => source.into(),
            AuthError::Name(source) => source.into(),
            error => Self::usage(error.to_string()),
        }
    }
}

/// A page of records as the wire has it.
fn shown<T, S: serde::Serialize + From<T>>(page: insula_infra::Page<T>) -> Result<Page, Stop> {
    let items = page.items.into_iter().map(|record| Json::of(&S::from(record))).collect::<Result<_, _>>()?;
    Ok(Page { items, next: page.next })
}

#[async_trait]
impl Account for Here {
    async fn keys(&self, whose: &Whose, most: usize) -> Result<Page, Stop> {
        let owner = self.owner_of(whose)?;
        match self.reading().await? {
            Some(backend) => shown::<_, Key>(backend.keys.keys(owner.as_ref(), &first(most)).await?),
            None => Ok(Page::default()),
        }
    }

    async fn create_key(&self, order: KeyOrder) -> Result<Json, Stop> {
        let whose = order.of.map_or(Whose::Own, Whose::Of);
        let scope = self.owner_of(&whose)?.ok_or_else(|| Stop::usage("a key is somebody's"))?;
        let roles = if order.roles.is_empty() { vec![Role::User] } else { order.roles };
        let access = if order.reach == Reach::Read { Access::Read } else { Access::Write };
        let expires_at = order.expires_in.map(|time| SystemClock::new().now().plus(time));
        let order = NewKey { scope, name: order.name, roles: Roles::of(&roles), access, expires_at };
        let engine = self.engine().await?;
        let MintedKey { shown, record } = authenticator(engine.backend())?.mint(order).await?;
        self.written(engine.backend(), "key.created", &record).await?;
        Ok(Json::of(&ShownKey { key: shown.expose().to_owned(), record: record.into() })?)
    }

    async fn revoke_key(&self, whose: &Whose, id: &str) -> Result<Option<Json>, Stop> {
        let (owner, Some(engine)) = (self.owner_of(whose)?, self.existing().await?) else { return Ok(None) };
        let Some(record) = authenticator(engine.backend())?.revoke(owner.as_ref(), id).await? else { return Ok(None) };
        self.written(engine.backend(), "key.revoked", &record).await?;
        found(Some(Key::from(record)))
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Json, Stop> {
        let scope = self.scope()?;
        let items = match self.reading().await? {
            Some(backend) => backend.audit.audit(&scope, after, limit).await?,
            None => Vec::new(),
        };
        let next = items.last().map(|entry| entry.number).filter(|_| items.len() == limit);
        Ok(Json::of(&AuditList { items, next })?)
    }

    async fn verify(&self, whose: &Whose) -> Result<Vec<Verdict>, Stop> {
        let (owner, Some(backend)) = (self.owner_of(whose)?, self.reading().await?) else { return Ok(Vec::new()) };
        let mut verdicts = Vec::new();
        let mut next = match owner {
            Some(owner) => vec![owner],
            None => backend.audit.audited(None, BATCH).await?,
        };
        while let Some(last) = next.last().cloned() {
            for scope in &next {
                verdicts.push(Verdict::of(scope, audit::verify(&*backend.audit, scope).await?));
            }
            next = if *whose == Whose::All { backend.audit.audited(Some(&last), BATCH).await? } else { Vec::new() };
        }
        Ok(verdicts)
    }

    async fn usage(&self, from: Option<&str>, to: Option<&str>) -> Result<Json, Stop> {
        let (scope, days) = (self.scope()?, Days::read(from, to, SystemClock::new().now()).map_err(Stop::usage)?);
        let (first, last) = days.numbers();
        let rows = match self.reading().await? {
            Some(backend) => backend.usage.usage(&scope, first, last).await?,
            None => Vec::new(),
        };
        Ok(Json::of(&UsageReport::of(days, &rows))?)
    }

    async fn webhooks(&self, state: Option<WebhookState>, most: usize) -> Result<Page, Stop> {
        let scope = self.scope()?;
        match self.reading().await? {
            Some(backend) => shown::<_, Webhook>(backend.webhooks.webhooks(&scope, state, &first(most)).await?),
            None => Ok(Page::default()),
        }
    }

    async fn resend(&self, run: &RunId) -> Result<Option<Json>, Stop> {
        let (scope, Some(engine)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        let call = engine.backend().webhooks.resend_webhook(&scope, run).await?;
        found(call.map(Webhook::from))
    }

    async fn nodes(&self) -> Result<Json, Stop> {
        let nodes = match self.reading().await? {
            Some(backend) => backend.census.nodes().await?,
            None => Vec::new(),
        };
        Ok(Json::of(&Items { items: nodes.into_iter().map(Node::from).collect() })?)
    }

    async fn overview(&self) -> Result<Json, Stop> {
        let (mut counts, mut nodes, mut health) = (json!(insula_infra::Counts::default()), json!([]), Vec::new());
        if let Some(backend) = self.reading().await? {
            (counts, nodes) = (json!(backend.census.counts().await?), json!(backend.census.nodes().await?));
            health = backend.health.health().await;
        }
        let state = |it: insula_infra::ComponentHealth| -> Value {
            json!({"component": it.component, "health": it.health, "detail": it.detail})
        };
        let health: Vec<Value> = health.into_iter().map(state).collect();
        let version = env!("CARGO_PKG_VERSION");
        Ok(Json::of(&json!({"version": version, "counts": counts, "nodes": nodes, "health": health}))?)
    }
}
