//! Counts per owner over all nodes. While Redis is away each node counts alone.

use std::sync::Arc;

use async_trait::async_trait;
use fred::types::Value;
use insula_context::{Clock, UserScope};
use insula_infra::{Error, Quota, RateLimit, Taken};
use std::time::Duration;

use crate::{
    RedisStore,
    cache::now,
    link::{COMPONENT, Link},
    names::Names,
    scripts::TAKE,
};

/// Lua's numbers are exact up to here.
const EXACT: u64 = 1 << 52;

pub(crate) struct SharedQuota {
    pub(crate) link: Arc<Link>,
    pub(crate) names: Names,
    pub(crate) below: Arc<dyn Quota>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    /// Ends its connections when nobody has it any more.
    pub(crate) _store: RedisStore,
}

#[async_trait]
impl Quota for SharedQuota {
    async fn take(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        match self.ask(scope, limit, amount).await {
            Ok(taken) => Ok(taken),
            // The link has noted why; health says so.
            Err(_) => self.below.take(scope, limit, amount).await,
        }
    }
}

impl SharedQuota {
    async fn ask(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        let window = u64::try_from(limit.window.as_micros()).unwrap_or(EXACT).min(EXACT);
        let max = limit.max.min(EXACT);
        let numbers = [window, max, amount.min(EXACT + 1)].map(|number| Value::from(number.to_string()));
        let arguments = std::iter::once(now(self.clock.as_ref())).chain(numbers).collect();
        let answer = self.link.run("take", &TAKE, vec![self.names.window(scope, &limit.name)], arguments).await?;
        let numbers: Vec<u64> = answer.into_array().into_iter().filter_map(|number| number.as_u64()).collect();
        match numbers.as_slice() {
            [1, taken] => Ok(Taken::Granted { left: limit.max.saturating_sub(*taken) }),
            [0, wait] => Ok(Taken::Refused { retry_after: Duration::from_micros(*wait) }),
            _ => Err(Error::Unavailable { operation: "take", component: COMPONENT, source: None }),
        }
    }
}
