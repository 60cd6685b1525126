//! The search must be able to fail: on storage that forgets whose things it keeps, it finds every leak.

use std::sync::Arc;

use insula_context::SystemClock;
use insula_infra::{Backend, conformance::leaky::leaky};

use super::{search::Sight, secrets::tell};
use crate::support::{Backing, Island};

/// The places in which somebody sees somebody else's secret when only these ports leak.
async fn places(leak: fn(&mut Backend, Backend)) -> Vec<String> {
    let backing = Backing::sqlite();
    let mut backend = backing.open(Arc::new(SystemClock::new()));
    let leaking = leaky(backend.clone());
    leak(&mut backend, leaking);
    let leaks = tell(Island::new(backend)).await;
    let mut places: Vec<String> = leaks.iter().flat_map(Sight::leaks).map(|leak| place(&leak)).collect();
    places.sort();
    places.dedup();
    places
}

fn place(leak: &str) -> String {
    leak.split(" in: ").nth(1).unwrap().split(" (").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iso_3_a_state_that_leaks_is_caught() {
    let places = places(|backend, leaking| backend.state = leaking.state).await;
    assert!(places.contains(&"state".to_owned()), "seen only in {places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iso_3_a_cache_that_leaks_is_caught() {
    let places = places(|backend, leaking| backend.cache = leaking.cache).await;
    assert!(places.contains(&"cache".to_owned()), "seen only in {places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iso_3_a_database_that_leaks_is_caught() {
    let places = places(|backend, leaking| backend.database = leaking.database).await;
    assert!(places.contains(&"row".to_owned()), "seen only in {places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iso_3_a_log_that_leaks_is_caught() {
    let log = |backend: &mut Backend, leaking: Backend| {
        (backend.queue, backend.runs) = (leaking.queue, leaking.runs);
        (backend.log, backend.signals) = (leaking.log, leaking.signals);
    };
    let places = places(log).await;
    for place in ["event", "run", "payload", "thread", "run events", "wait", "cancel"] {
        assert!(places.contains(&place.to_owned()), "seen only in {places:?}");
    }
}
