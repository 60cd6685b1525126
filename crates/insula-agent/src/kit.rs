//! Agents for tests: small, and each with one well-known behaviour. Use them in your own tests as well.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Agent, Effect, Error, Result, Session, Space, Tool, ToolSpec, agent_fn, tool_fn};

/// Returns its input and its marker: `{"echo": input, "marker": "…"}`.
pub fn echo() -> impl Agent {
    agent_fn(|session, input| async move { Ok(json!({"echo": input, "marker": session.marker()})) })
}

/// Returns its input as it is, and nothing else: what is left is the cost of the platform.
pub fn noop() -> impl Agent {
    agent_fn(|_, _| async move { Ok(Value::Bool(true)) })
}

/// Waits in its own code, stops when its run is stopped, and returns how long it waited in milliseconds.
pub fn sleep(duration: Duration) -> impl Agent {
    agent_fn(move |_, _| async move {
        tokio::time::sleep(duration).await;
        Ok(json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    })
}

/// Thinks once, then calls the tool `tally` `calls` times, one after the other, and returns the results.
pub fn tools(calls: usize) -> impl Agent {
    agent_fn(move |session, _| async move {
        session.think(format!("calling {calls} tools"));
        let mut results = Vec::with_capacity(calls);
        for n in 0..calls {
            results.push(session.call_tool("tally", json!({"n": n})).await?);
        }
        Ok(Value::Array(results))
    })
}

/// The argument of [`tally`].
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub struct Tally {
    /// Any number.
    pub n: i64,
}

/// The tool that [`tools`] calls: returns its argument plus one.
pub fn tally() -> impl Tool {
    let spec = ToolSpec::new::<Tally>("tally").describe("Adds one to a number.").effect(Effect::Pure);
    tool_fn(spec, |_, Tally { n }| async move { Ok(n + 1) })
}

/// Fails with these words.
pub fn fail(message: impl Into<String>) -> impl Agent {
    let message = message.into();
    agent_fn(move |_, _| {
        let message = message.clone();
        async move { Err(Error::failed(message)) }
    })
}

/// Panics.
pub fn panic() -> impl Agent {
    agent_fn(|_, _| async move { panic!("the kit's panicking agent") })
}

/// Ends without a result.
pub fn silent() -> impl Agent {
    agent_fn(|_, _| async move { Ok(Value::Null) })
}

/// Keeps a processor busy for that long without a single `await`, so that neither a stop nor a timeout can reach it.
#[expect(clippy::disallowed_methods, reason = "it looks at the wall clock because it never yields to a runtime")]
pub fn hog(duration: Duration) -> impl Agent {
    agent_fn(move |_, _| async move {
        let started = Instant::now();
        while started.elapsed() < duration {
            std::hint::spin_loop();
        }
        Ok(Value::Bool(true))
    })
}

/// Thinks `events` times and returns that number.
pub fn chatty(events: usize) -> impl Agent {
    agent_fn(move |session, _| async move {
        for n in 0..events {
            session.think(format!("thought {n}"));
            // Without a pause, all of them would be one append.
            tokio::task::yield_now().await;
        }
        Ok(json!(events))
    })
}

/// Tries to reach other users' data through every handle it has.
///
/// Its input is `{"plant": secret, "victims": [{"tenant", "user", "thread", "run"}]}`. It plants its own secret in state,
/// cache, database and an event, then looks for the victims' with every name it can think of. The result is everything
/// that it found, `{"found": […]}`: a test looks for the victims' secrets in it.
pub fn leaky() -> impl Agent {
    Leaky
}

/// The name under which [`leaky`] plants its secret.
pub const PLANTED: &str = "planted-secret";

struct Leaky;

#[async_trait]
impl Agent for Leaky {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        plant(session, &input["plant"]).await?;
        let mut found = Vec::new();
        for victim in input["victims"].as_array().into_iter().flatten() {
            pry_state(session, victim, &mut found).await?;
            pry_cache(session, victim, &mut found).await;
            pry_database(session, victim, &mut found).await;
            // A tool argument that names another user changes nothing.
            found.extend(session.call_tool("tally", json!({"n": 1, "user_id": victim["user"]})).await.ok());
        }
        Ok(json!({"found": found}))
    }
}

async fn plant(session: &Session, secret: &Value) -> Result<()> {
    for space in [Space::Run, Space::Thread, Space::User, Space::Agent] {
        session.state(space).set(PLANTED, secret).await?;
    }
    session.emit(PLANTED, secret)?;
    if let Ok(cache) = session.cache() {
        cache.set(PLANTED, secret.to_string().into_bytes(), None).await?;
    }
    if let Ok(database) = session.database() {
        let mut tx = database.begin().await?;
        tx.execute("CREATE TABLE IF NOT EXISTS planted (secret TEXT)", &[]).await?;
        tx.execute("INSERT INTO planted VALUES ($1)", &[secret.to_string().into()]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Every way to spell somebody else's key that a careless store might honour.
fn names(victim: &Value) -> Vec<String> {
    let part = |key: &str| victim[key].as_str().unwrap_or_default().to_owned();
    let (tenant, user, thread, run) = (part("tenant"), part("user"), part("thread"), part("run"));
    let mut names = Vec::new();
    for owner in [user.clone(), format!("{tenant}/{user}"), format!("{tenant}:{user}"), format!("{tenant}\u{0}{user}")]
    {
        for joint in ["/", ":", "\u{0}", "/../"] {
            names.push(format!("{owner}{joint}{PLANTED}"));
            names.push(format!("../{owner}{joint}{PLANTED}"));
            names.push(format!("{owner}{joint}{thread}{joint}{PLANTED}"));
            names.push(format!("{owner}{joint}{run}{joint}{PLANTED}"));
        }
    }
    names.extend(["*".to_owned(), "%".to_owned(), format!("*{PLANTED}"), format!("%{PLANTED}")]);
    names
}

async fn pry_state(session: &Session, victim: &Value, found: &mut Vec<Value>) -> Result<()> {
    for name in names(victim) {
        for space in [Space::Run, Space::Thread, Space::User, Space::Agent] {
            found.extend(session.state(space).get::<Value>(&name).await?);
        }
    }
    Ok(())
}

async fn pry_cache(session: &Session, victim: &Value, found: &mut Vec<Value>) {
    let Ok(cache) = session.cache() else { return };
    for name in names(victim) {
        let bytes = cache.get(&name).await.ok().flatten();
        found.extend(bytes.map(|b| Value::from(String::from_utf8_lossy(&b).into_owned())));
    }
}

async fn pry_database(session: &Session, victim: &Value, found: &mut Vec<Value>) {
    let Ok(database) = session.database() else { return };
    let (tenant, user) = (victim["tenant"].as_str().unwrap_or_default(), victim["user"].as_str().unwrap_or_default());
    let statements = [
        "SELECT secret FROM planted".to_owned(),
        format!("SELECT secret FROM \"{tenant}/{user}\".planted"),
        format!("SELECT secret FROM {user}.planted"),
        format!("ATTACH DATABASE '{user}.db' AS other"),
        format!("ATTACH DATABASE '../{tenant}/{user}.db' AS other"),
        "SELECT secret FROM other.planted".to_owned(),
        "SELECT file FROM pragma_database_list".to_owned(),
        "SELECT readfile('insula.db') AS secret".to_owned(),
        "SET ROLE postgres".to_owned(),
    ];
    for sql in statements {
        // One transaction each: a refused statement must not hide what the next one would have found.
        let Ok(mut tx) = database.begin().await else { continue };
        let rows = tx.fetch(&sql, &[]).await.unwrap_or_default();
        found.extend(rows.iter().map(insula_context::SqlRow::to_json));
    }
}
