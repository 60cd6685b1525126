//! Accounts on a server. What is of others wants a key of an admin or an operator.

use async_trait::async_trait;
use insula_client::{Json, Method, Page};
use insula_context::RunId;
use insula_infra::{
    AuditRecord, WebhookState,
    audit::{Chain, Verified},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::account::{Account, KeyOrder, Named, Reach, Verdict, Whose},
    Me, There, absent, said, written,
};
use crate::{exit::Stop, identity};

/// How many entries of the audit log are asked for at once.
const PAGE: usize = 1_000;

const OWN_KEYS: &[&str] = &["keys"];
const ALL_KEYS: &[&str] = &["admin", "keys"];

impl Whose {
    fn keys(&self) -> &'static [&'static str] {
        if *self == Self::Own { OWN_KEYS } else { ALL_KEYS }
    }

    fn query(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Of(Named { tenant, user }) => vec![("tenant_id", tenant), ("user_id", user)],
            Self::Own | Self::All => Vec::new(),
        }
    }
}

#[async_trait]
impl Account for There {
    async fn keys(&self, whose: &Whose, most: usize) -> Result<Page, Stop> {
        Ok(self.client.list(whose.keys(), &whose.query(), most).await?)
    }

    async fn create_key(&self, order: KeyOrder) -> Result<Json, Stop> {
        let access = (order.reach == Reach::Read).then_some("read");
        let mut body = json!({"name": order.name, "access": access, "expires_in": order.expires_in.map(written)});
        let mut path = OWN_KEYS;
        // One's own are like the one that they are made with; others are for an admin to make.
        if order.of.is_some() || !order.roles.is_empty() {
            let Named { tenant, user } = match order.of {
                Some(of) => of,
                None => self.me().await?.into(),
            };
            path = ALL_KEYS;
            (body["tenant_id"], body["user_id"]) = (json!(tenant), json!(user));
            body["roles"] = if order.roles.is_empty() { json!(null) } else { json!(order.roles) };
        }
        let body = Json::of(&said(body))?;
        Ok(self.client.ask(Method::POST, path, &[], Some(&body)).await?)
    }

    async fn revoke_key(&self, whose: &Whose, id: &str) -> Result<Option<Json>, Stop> {
        absent(self.client.ask(Method::DELETE, &[whose.keys(), &[id]].concat(), &[], None).await)
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Json, Stop> {
        let (after, limit) = (after.to_string(), limit.to_string());
        Ok(self.client.get(&["audit"], &[("after", &after), ("limit", &limit)]).await?)
    }

    async fn verify(&self, whose: &Whose) -> Result<Vec<Verdict>, Stop> {
        #[derive(Deserialize)]
        struct Entries {
            items: Vec<AuditRecord>,
        }
        if *whose != Whose::Own {
            return Err(Stop::usage("a server shows everybody's audit log to its owner alone")
                .advise("where its database is, `insula audit verify --all` looks through all of them"));
        }
        let Named { tenant, user } = self.me().await?.into();
        let (scope, mut chain) = (identity::named(&tenant, &user)?, Chain::default());
        loop {
            let Entries { items } = self.audit(chain.entries(), PAGE).await?.read()?;
            let is_all = items.is_empty();
            let broken = items.into_iter().find_map(|entry| {
                let number = entry.number;
                (!chain.takes(&scope, entry)).then_some(number)
            });
            if is_all || broken.is_some() {
                let verified = Verified { entries: chain.entries(), broken };
                return Ok(vec![Verdict::of(&scope, verified)]);
            }
        }
    }

    async fn usage(&self, from: Option<&str>, to: Option<&str>) -> Result<Json, Stop> {
        let query = [from.map(|from| ("from", from)), to.map(|to| ("to", to))];
        let query: Vec<_> = query.into_iter().flatten().collect();
        Ok(self.client.get(&["usage"], &query).await?)
    }

    async fn webhooks(&self, state: Option<WebhookState>, most: usize) -> Result<Page, Stop> {
        let query = state.map(|state| ("state", state.as_str()));
        Ok(self.client.list(&["webhooks"], query.as_slice(), most).await?)
    }

    async fn resend(&self, run: &RunId) -> Result<Option<Json>, Stop> {
        self.ask(Method::POST, &["webhooks", run.as_str(), "resend"], json!({})).await
    }

    async fn nodes(&self) -> Result<Json, Stop> {
        Ok(self.client.get(&["operator", "nodes"], &[]).await?)
    }

    async fn overview(&self) -> Result<Json, Stop> {
        Ok(self.client.get(&["operator", "overview"], &[]).await?)
    }
}

impl From<Me> for Named {
    fn from(me: Me) -> Self {
        Self { tenant: me.tenant_id, user: me.user_id }
    }
}
