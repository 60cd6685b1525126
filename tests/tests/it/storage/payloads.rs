//! Large values: identical, stored once, and never returned when they are not what was written.

use std::{path::Path, sync::Arc};

use insula_agent::agent_fn;
use insula_context::{SystemClock, UserScope};
use insula_engine::RunRequest;
use insula_infra::{Backend, Error, EventType, Payload, PayloadHash};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::{Island, context};
use crate::support::{Backing, events_of_run, on_every_backend, user};

/// Gives back exactly what it was given.
fn mirror() -> AgentClass {
    AgentClass::new("mirror", "1", || agent_fn(|_, input| async move { Ok(input) }))
}

fn large(bytes: usize) -> Value {
    json!("0123456789abcdef".repeat(bytes / 16))
}

/// The hash in an event's data, where a reference stands instead of the value.
fn reference(data: &Value) -> PayloadHash {
    data["$payload"].as_str().unwrap_or_else(|| panic!("no reference: {data}")).parse().unwrap()
}

async fn payload(backend: &Backend, scope: &UserScope, hash: &PayloadHash) -> Value {
    serde_json::from_slice(&backend.log.payload(scope, hash).await.unwrap().unwrap()).unwrap()
}

on_every_backend! {
    async fn per_3_a_large_value_comes_back_identical_from_one_payload(island: Island) {
        let island = island.class(mirror());
        let (ada, value) = (island.user("ada"), large(100_000));
        let outcome = island.run(&ada, "mirror", value.clone()).await;
        assert_eq!(outcome.result().unwrap(), &value);
        let events = events_of_run(island.ports(), &ada, &outcome.run).await;
        let data: Vec<Value> = events.iter().map(|event| event.data().unwrap()).collect();
        let (given, returned) = (reference(&data[0]["input"]), reference(&data[1]["result"]));
        assert_eq!(given, returned, "the same value is one payload");
        assert_eq!(payload(island.ports(), &ada, &given).await, value);
        assert!(events.iter().all(|event| event.data.get().len() < 1_000), "the log holds references");
        let stranger = island.user("bob");
        assert!(island.ports().log.payload(&stranger, &given).await.unwrap().is_none());
    }

    async fn per_3_a_value_of_sixteen_kibibytes_stays_inside_and_one_byte_more_does_not(island: Island) {
        let island = island.class(mirror());
        let ada = island.user("ada");
        for (length, inside) in [(Payload::INLINE_BYTES, true), (Payload::INLINE_BYTES + 1, false)] {
            let value = json!("x".repeat(length - 2));
            let outcome = island.run(&ada, "mirror", value.clone()).await;
            let events = events_of_run(island.ports(), &ada, &outcome.run).await;
            let shown: Value = events.last().unwrap().data().unwrap();
            assert_eq!(shown["result"] == value, inside, "{length} bytes");
            assert_eq!(shown["result"]["$payload"].is_string(), !inside, "{length} bytes");
        }
    }

    async fn per_3_a_queued_run_gets_its_large_input_and_gives_it_back(island: Island) {
        let island = island.class(mirror());
        let (ada, value) = (island.user("ada"), large(100_000));
        let run = island.factory().submit(&ada, RunRequest::new("mirror", value.clone())).await.unwrap();
        island.factory().wait(&ada, &run).await.unwrap().unwrap();
        let events = events_of_run(island.ports(), &ada, &run).await;
        let end: Value = events.iter().find(|e| e.kind == EventType::AgentCompleted).unwrap().data().unwrap();
        assert_eq!(payload(island.ports(), &ada, &reference(&end["result"])).await, value);
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let sizes = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    sizes.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

const LARGE: usize = 256 * 1024;

/// Ten runs without their large value, and the room that a database takes in advance.
const SMALL: u64 = 1_300_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_3_the_same_large_value_again_takes_no_place_on_the_disk() {
    let backing = Backing::sqlite();
    let Backing::Sqlite(folder) = &backing else { panic!("{backing:?}") };
    let island = Island::new(backing.open(Arc::new(SystemClock::new()))).class(mirror());
    let ada = user("ada");
    assert!(island.run(&ada, "mirror", large(LARGE)).await.is_success());
    let once = bytes_in(folder.path());
    for _ in 0..10 {
        assert!(island.run(&ada, "mirror", large(LARGE)).await.is_success());
    }
    let more = bytes_in(folder.path()).saturating_sub(once);
    assert!(more < SMALL, "{once} bytes for the first run, {more} for ten more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_3_the_same_large_value_queued_again_takes_no_place_on_the_disk() {
    let backing = Backing::sqlite();
    let Backing::Sqlite(folder) = &backing else { panic!("{backing:?}") };
    let island = Island::new(backing.open(Arc::new(SystemClock::new()))).class(mirror());
    let ada = user("ada");
    let mut sizes = Vec::new();
    for _ in 0..11 {
        let run = island.factory().submit(&ada, RunRequest::new("mirror", large(LARGE))).await.unwrap();
        island.factory().wait(&ada, &run).await.unwrap().unwrap();
        sizes.push(bytes_in(folder.path()));
    }
    let more = sizes[10].saturating_sub(sizes[0]);
    assert!(more < SMALL, "{} bytes for the first run, {more} for ten more", sizes[0]);
}

/// Does something in a runtime of its own; when it returns, nothing of it is left.
fn in_a_process_as_it_were<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(story)
}

#[test]
fn per_3_a_payload_that_was_changed_on_the_disk_is_reported_and_not_returned() {
    let backing = Backing::sqlite();
    let ada = user("ada");
    let value = json!(format!("{}-needle-{}", "x".repeat(20_000), "y".repeat(20_000)));
    let hash = in_a_process_as_it_were(async {
        let island = Island::new(backing.open(Arc::new(SystemClock::new()))).class(mirror());
        let outcome = island.run(&ada, "mirror", value.clone()).await;
        let events = events_of_run(island.ports(), &ada, &outcome.run).await;
        reference(&events.last().unwrap().data::<Value>().unwrap()["result"])
    });
    let file = backing.closed();
    let mut bytes = std::fs::read(&file).unwrap();
    let needles: Vec<usize> = (0..bytes.len() - 8).filter(|at| &bytes[*at..*at + 8] == b"-needle-").collect();
    assert_eq!(needles.len(), 1, "stored once");
    bytes[needles[0] + 1] = b'N';
    std::fs::write(&file, bytes).unwrap();
    let (found, run) = in_a_process_as_it_were(async {
        let island = Island::new(backing.open(Arc::new(SystemClock::new()))).class(mirror());
        let context = context(&ada);
        let run = island.engine(&context).execute_agent(&context, "mirror", json!("small")).await;
        (island.ports().log.payload(&ada, &hash).await, run)
    });
    match found {
        Err(Error::Corrupt { what, .. }) => assert!(what.contains(&hash.to_string()), "{what}"),
        other => panic!("a changed payload was answered with {other:?}"),
    }
    assert!(run.unwrap().is_success(), "one bad payload does not stop the rest");
}
