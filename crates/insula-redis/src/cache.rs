//! The scoped cache, shared by all nodes and bounded per owner.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fred::{
    interfaces::PubsubInterface,
    types::{Value, scripts::Script},
};
use insula_context::{Clock, UserScope};
use insula_infra::{CacheSubscription, Error, RedisManager};

use crate::{
    RedisStore,
    channels::Channels,
    link::{COMPONENT, Link},
    names::Names,
    scripts,
};

#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) link: Arc<Link>,
    pub(crate) names: Names,
    pub(crate) channels: Arc<Channels>,
    pub(crate) limit: usize,
    /// In the place of Redis' own, for tests.
    pub(crate) clock: Option<Arc<dyn Clock>>,
    /// Ends its connections when nobody has it any more.
    pub(crate) _store: RedisStore,
}

/// One operation on one key.
#[derive(Clone, Copy)]
struct Call<'a> {
    operation: &'static str,
    script: &'static Script,
    scope: &'a UserScope,
    key: &'a str,
    /// What it wants to find there.
    expected: &'static str,
}

/// The time for a script: text, or nothing where Redis' own counts.
pub(crate) fn now(clock: Option<&Arc<dyn Clock>>) -> Value {
    clock.map(|clock| clock.now().as_micros().to_string()).unwrap_or_default().into()
}

impl Cache {
    async fn call(&self, call: Call<'_>, own: Vec<Value>) -> Result<Vec<Value>, Error> {
        let values = self.names.values(call.scope);
        let mut keys = self.names.index(call.scope).to_vec();
        keys.push(format!("{values}{}", call.key));
        let mut arguments =
            vec![now(self.clock.as_ref()), values.into(), call.key.into(), self.limit.to_string().into()];
        arguments.extend(own);
        let answer = self.link.run(call.operation, call.script, keys, arguments).await?;
        self.read(call, answer)
    }

    /// The answer of a script: a word, and what belongs to it.
    fn read(&self, call: Call<'_>, answer: Value) -> Result<Vec<Value>, Error> {
        let Call { operation, key, expected, .. } = call;
        let mut parts = answer.into_array().into_iter();
        let word = parts.next().and_then(Value::into_string).unwrap_or_default();
        let mut text = || parts.next().and_then(Value::into_string).unwrap_or_default();
        match word.as_str() {
            "ok" => Ok(parts.collect()),
            "absent" => Ok(Vec::new()),
            "wrong" => Err(Error::WrongType { operation, key: key.to_owned(), expected, found: found(&text()) }),
            "large" => Err(Error::TooLarge {
                what: "a cached value, in bytes,",
                size: text().parse().unwrap_or(u64::MAX),
                limit: self.limit as u64,
            }),
            _ => Err(Error::Unavailable { operation, component: COMPONENT, source: None }),
        }
    }

    async fn number(&self, call: Call<'_>, own: Vec<Value>) -> Result<i64, Error> {
        let answer = self.call(call, own).await?;
        let number = answer.into_iter().next().and_then(Value::into_string).and_then(|text| text.parse().ok());
        number.ok_or(Error::Unavailable { operation: call.operation, component: COMPONENT, source: None })
    }
}

/// The scripts' words for what is there.
fn found(word: &str) -> &'static str {
    match word {
        "a list" => "a list",
        "a plain value" => "a plain value",
        "too large for the sum" => "too large for the sum",
        _ => "another value",
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::String(text) => Some(text.into_inner()),
        other => other.into_string().map(Bytes::from),
    }
}

#[async_trait]
impl RedisManager for Cache {
    async fn get(&self, scope: &UserScope, key: &str) -> Result<Option<Bytes>, Error> {
        let call = Call { operation: "get", script: &scripts::GET, scope, key, expected: "a plain value" };
        Ok(self.call(call, Vec::new()).await?.into_iter().next().and_then(bytes))
    }

    async fn set(&self, scope: &UserScope, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), Error> {
        let ttl = ttl.map(|ttl| ttl.as_micros().clamp(1, LONGEST).to_string()).unwrap_or_default();
        let call = Call { operation: "set", script: &scripts::SET, scope, key, expected: "" };
        self.call(call, vec![Value::Bytes(value), ttl.into()]).await.map(drop)
    }

    async fn delete(&self, scope: &UserScope, key: &str) -> Result<bool, Error> {
        let call = Call { operation: "delete", script: &scripts::DELETE, scope, key, expected: "" };
        Ok(self.number(call, Vec::new()).await? == 1)
    }

    async fn increment(&self, scope: &UserScope, key: &str, by: i64) -> Result<i64, Error> {
        let expected = "a number within 64 bits";
        let call = Call { operation: "increment", script: &scripts::INCREMENT, scope, key, expected };
        self.number(call, vec![by.to_string().into()]).await
    }

    async fn push(&self, scope: &UserScope, key: &str, value: Bytes) -> Result<u64, Error> {
        let call = Call { operation: "push", script: &scripts::PUSH, scope, key, expected: "a list" };
        Ok(self.number(call, vec![Value::Bytes(value)]).await?.unsigned_abs())
    }

    async fn range(&self, scope: &UserScope, key: &str, start: usize, count: usize) -> Result<Vec<Bytes>, Error> {
        let call = Call { operation: "range", script: &scripts::RANGE, scope, key, expected: "a list" };
        // Redis counts the last place in, so that none at all is a range that ends before it begins.
        let (first, last) = if count == 0 { (1, 0) } else { (start, start.saturating_add(count - 1)) };
        let own = [first, last].map(|place| i64::try_from(place).unwrap_or(i64::MAX).to_string().into());
        Ok(self.call(call, own.to_vec()).await?.into_iter().filter_map(bytes).collect())
    }

    async fn clear(&self, scope: &UserScope) -> Result<(), Error> {
        let call = Call { operation: "clear", script: &scripts::CLEAR, scope, key: "", expected: "" };
        self.call(call, Vec::new()).await.map(drop)
    }

    async fn publish(&self, scope: &UserScope, channel: &str, message: Bytes) -> Result<(), Error> {
        let channel = self.names.channel(scope, channel);
        let publish = self.link.client.publish::<i64, _, _>(channel, Value::Bytes(message));
        self.link.ask("publish", publish).await.map(drop)
    }

    async fn subscribe(&self, scope: &UserScope, channel: &str) -> Result<CacheSubscription, Error> {
        self.channels.subscribe(self.names.channel(scope, channel)).await
    }
}

/// A hundred years: what a script can add to the time without losing a microsecond.
const LONGEST: u128 = 100 * 365 * 86_400 * 1_000_000;
