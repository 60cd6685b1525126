//! A run that its process has lost track of while it lives on: it is given back, and goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_agent::Effect;
use insula_infra::{Append, Commit, Error, RunQueue, RunStatus, conformance::QueueLayer};
use serde_json::json;

use crate::{
    engine::stage::class,
    support::{Gauge, Island, in_virtual_time},
};

/// Refuses the appends from the second to the given one, as a store does that cannot be reached for a moment.
struct Away {
    inner: Arc<dyn RunQueue>,
    seen: AtomicUsize,
    back_after: usize,
}

impl QueueLayer for Away {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    fn append(&self, append: Append) -> Commit {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        if (1..self.back_after).contains(&seen) {
            return Commit::ready(Err(Error::Unavailable {
                operation: "append",
                component: "the store",
                source: None,
            }));
        }
        self.inner.append(append)
    }
}

in_virtual_time! {
    async fn a_run_whose_log_could_not_be_written_goes_on_although_its_worker_lives(island: Island) {
        let steps = Gauge::default();
        let counted = steps.clone();
        let stepping = class("stepping", move |session, _| {
            let counted = counted.clone();
            async move {
                for name in ["one", "two", "three"] {
                    session.step(name, Effect::Idempotent, async || {
                        drop(counted.enter());
                        Ok(())
                    }).await?;
                }
                Ok(json!("done"))
            }
        });
        let inner = Arc::clone(&island.ports().queue);
        let away = Away { inner, seen: AtomicUsize::new(0), back_after: 4 };
        let island = island.class(stepping).backend(|ports| ports.queue = Arc::new(away));
        let ada = island.user("ada");
        let run = island.factory().submit(&ada, insula_engine::RunRequest::new("stepping", json!(1))).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(100), island.factory().wait(&ada, &run)).await;
        let record = ended.expect("it is not held for as long as the worker lives").unwrap().unwrap();
        assert_eq!(record.status, RunStatus::Completed);
        assert!((3..=4).contains(&steps.ever()), "what was recorded is not done again");
    }
}
