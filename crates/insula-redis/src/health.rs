//! What operators are told: whether Redis answers, and what is missing while it does not.

use std::sync::Arc;

use async_trait::async_trait;
use fred::interfaces::ClientLike;
use insula_infra::{ComponentHealth, Health, HealthCheck};

use crate::{RedisStore, link::Link};

pub(crate) struct WithRedis {
    pub(crate) below: Arc<dyn HealthCheck>,
    pub(crate) link: Arc<Link>,
    pub(crate) shown: String,
    /// Ends its connections when nobody has it any more.
    pub(crate) _store: RedisStore,
}

#[async_trait]
impl HealthCheck for WithRedis {
    async fn health(&self) -> Vec<ComponentHealth> {
        let mut components = self.below.health().await;
        let (health, detail) = self.look().await;
        components.push(ComponentHealth { component: self.shown.clone(), health, detail });
        components
    }
}

impl WithRedis {
    /// Without Redis everything works, some of it worse: degraded, never down.
    async fn look(&self) -> (Health, String) {
        let ping = self.link.ask("ping", self.link.client.ping::<()>(None)).await;
        let state = self.link.state();
        match (ping, state.away) {
            (Ok(()), _) => (Health::Up, format!("answers since {}; carries news, the cache and rates", state.since)),
            (Err(error), away) => {
                let why = away.map_or_else(|| error.to_string(), |away| away.to_string());
                let detail = format!(
                    "away since {} ({why}): news of other nodes come late, the cache is unavailable, each node counts \
                     rates alone; check that it runs and can be reached",
                    state.since
                );
                (Health::Degraded, detail)
            }
        }
    }
}
