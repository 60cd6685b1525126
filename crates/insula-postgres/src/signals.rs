//! News of threads across nodes: `LISTEN` and `NOTIFY`, apart from the transactions that they tell of, because a commit that
//! notifies waits for every other one that does.
//!
//! The names in a message are of users, and whoever may log in may listen to a channel whose name is known. So the name is
//! random, and only processes may read it.

use std::{collections::HashMap, sync::Weak, time::Duration};

use insula_context::{ScopeIssuer, ThreadId, UserScope};
use insula_infra::{LocalSignals, Outlet, Signals, ThreadWatch};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgListener};
use tokio::{runtime::Handle, sync::mpsc};

/// Bytes of a message; Postgres takes less than 8,000.
const MESSAGE: usize = 7_000;

/// Threads whose news may wait. What does not fit is found by those who look again.
const ROOM: usize = 65_536;

/// How long is waited after a failure.
const PAUSE: Duration = Duration::from_millis(500);

const CHANNEL: &str = "SELECT name FROM insula.channel";

/// News within this process, and on their way to others.
#[derive(Debug, Clone)]
pub(crate) struct PgSignals {
    local: LocalSignals,
    outbox: Option<mpsc::Sender<(UserScope, ThreadId, u64)>>,
}

/// A message, as short as it can be said.
#[derive(Serialize, Deserialize)]
struct Message<S> {
    /// Which process says it: it knows already.
    from: S,
    news: Vec<(S, S, S, u64)>,
}

impl PgSignals {
    /// News that stay in this process.
    pub(crate) fn local_only() -> Self {
        Self { local: LocalSignals::new(), outbox: None }
    }

    /// News that go to other processes and come from them.
    pub(crate) fn across(home: &Handle, pool: &PgPool, listen: PgPool) -> Self {
        let (sender, outbox) = mpsc::channel(ROOM);
        let (local, node) = (LocalSignals::new(), uuid::Uuid::new_v4().simple().to_string());
        home.spawn(tell(pool.clone(), outbox, node.clone()));
        home.spawn(hear(listen, local.clone(), node));
        Self { local, outbox: Some(sender) }
    }
}

impl Signals for PgSignals {
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.local.advanced(scope, thread, head);
        if let Some(outbox) = &self.outbox {
            // Without room the others look again a little later.
            let _full = outbox.try_send((scope.clone(), thread.clone(), head));
        }
    }

    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch {
        self.local.watch(scope, thread)
    }

    fn attach(&self, outlet: Weak<dyn Outlet>) {
        self.local.attach(outlet);
    }

    fn pass_on(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.local.pass_on(scope, thread, head);
    }

    fn wake_all(&self) {
        self.local.wake_all();
    }
}

/// Sends what has come, the last word of each thread only. Ends when nobody has news any more.
async fn tell(pool: PgPool, mut outbox: mpsc::Receiver<(UserScope, ThreadId, u64)>, node: String) {
    const NOTIFY: &str = "SELECT pg_notify(name, message) FROM insula.channel, unnest($1::text[]) AS m(message)";
    let mut come = Vec::new();
    while outbox.recv_many(&mut come, ROOM).await > 0 {
        let mut latest = HashMap::new();
        for (scope, thread, head) in come.drain(..) {
            latest.insert((scope, thread), head);
        }
        let sent = sqlx::query(NOTIFY).bind(messages(&latest, &node)).execute(&pool).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "news of threads were not sent");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn messages(latest: &HashMap<(UserScope, ThreadId), u64>, node: &str) -> Vec<String> {
    let (mut messages, mut news, mut size) = (Vec::new(), Vec::new(), 0);
    let message = |news: Vec<_>| serde_json::to_string(&Message { from: node, news }).ok();
    for ((scope, thread), head) in latest {
        let one = (scope.tenant().as_str(), scope.user().as_str(), thread.as_str(), *head);
        // Escapes make a name up to six times as long.
        let length = 6 * (one.0.len() + one.1.len() + one.2.len()) + 32;
        if size + length > MESSAGE && !news.is_empty() {
            messages.extend(message(std::mem::take(&mut news)));
            size = 0;
        }
        size += length;
        news.push(one);
    }
    messages.extend(message(news));
    messages
}

/// Hears what others say, for as long as the store lives.
async fn hear(pool: PgPool, local: LocalSignals, node: String) {
    loop {
        if let Err(error) = listen(&pool, &local, &node).await {
            tracing::warn!(%error, "news of other nodes are not heard, readers look for them instead");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(pool: &PgPool, local: &LocalSignals, node: &str) -> sqlx::Result<()> {
    let channel: String = sqlx::query_scalar(CHANNEL).fetch_one(pool).await?;
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    local.wake_all();
    loop {
        match listener.try_recv().await? {
            Some(notification) => pass_on(local, notification.payload(), node),
            // The connection was lost and made again: nobody knows what was said meanwhile.
            None => local.wake_all(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the scope was issued by the node that has written, and is only read back"
)]
fn pass_on(local: &LocalSignals, message: &str, node: &str) {
    let Ok(message) = serde_json::from_str::<Message<String>>(message) else {
        tracing::debug!("a message on the channel is not one of ours");
        return;
    };
    if message.from == node {
        return;
    }
    let issuer = ScopeIssuer::new();
    for (tenant, user, thread, head) in message.news {
        if let (Ok(scope), Ok(thread)) = (issuer.issue(tenant, user), ThreadId::new(thread)) {
            local.pass_on(&scope, &thread, head);
        }
    }
}
