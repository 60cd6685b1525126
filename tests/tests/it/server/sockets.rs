//! Sockets of one user and of many: everybody gets everything that is theirs, and nothing else.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    house::House,
    resuming::odyssey,
    socket::{Heard, Socket, event},
    told::{Told, log_at, same},
    web::Caller,
};
use crate::support::{Island, on_every_backend, until_async};

/// Opens sockets that read this thread from the beginning.
async fn ears(house: &House, of: &Caller, thread: &str, count: usize) -> Vec<Socket> {
    let mut ears = Vec::new();
    for _ in 0..count {
        let mut socket = house.socket(of).await;
        socket.subscribe(thread, 0).await;
        ears.push(socket);
    }
    ears
}

async fn hear_all(ears: &mut [Socket], run: &str) -> Vec<Vec<Told>> {
    join_all(ears.iter_mut().map(|ear| ear.until_end_of(run))).await
}

/// Reads streams of two of a user's sockets to the end of the user's run.
async fn busy_user(house: &House, name: &str) -> (String, Vec<Told>) {
    let caller = house.user(name).await;
    let mut ears = ears(house, &caller, "shared-name", 2).await;
    let input = json!(format!("canary-{name}-salve"));
    let mut told = Vec::new();
    for _ in 0..3 {
        let order = json!({"agent": "echo", "input": input, "thread_id": "shared-name"});
        let run = caller.submitted(order).await;
        let [one, other] = &hear_all(&mut ears, &run).await[..] else { panic!("two sockets") };
        assert_eq!(one, other);
        told.extend(one.clone());
    }
    (name.to_owned(), told)
}

on_every_backend! {
    /// EVT-9.
    async fn every_socket_of_a_user_gets_everything_and_the_eleventh_is_refused(island: Island) {
        let house = House::open(island).await;
        let (ada, bob) = (house.user("ada").await, house.user("bob").await);
        let mut ten = ears(&house, &ada, "talk", 10).await;
        assert_eq!(Socket::open(house.address, ada.bearer()).await.err(), Some(429));
        let refused = ada.with("connection", "upgrade").with("upgrade", "websocket");
        let refused = refused.with("sec-websocket-version", "13").with("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        let words = refused.get("/v1/socket").await.refuses(429, "limit");
        assert_eq!((&words["what"], &words["limit"]), (&json!("connections"), &json!(10)), "{words}");
        assert!(Socket::open(house.address, bob.bearer()).await.is_ok(), "others have their own");
        let run = ada.submitted(json!({"agent": "tools", "thread_id": "talk"})).await;
        let heard = hear_all(&mut ten, &run).await;
        let log = log_at(&ada, "/v1/threads/talk/events").await;
        heard.iter().for_each(|told| same("each of the ten", told, &log, &run));
        drop(ten.pop());
        until_async("the place of one that has left is free", async || {
            Socket::open(house.address, ada.bearer()).await.is_ok()
        })
        .await;
    }

    /// EVT-2, with ten users who call everything alike.
    async fn events_never_cross_users(island: Island) {
        let house = House::open(island).await;
        let names: Vec<String> = (0..10).map(|n| format!("user-{n}")).collect();
        let heard = join_all(names.iter().map(|name| busy_user(&house, name))).await;
        for (name, told) in heard {
            let mine = format!("canary-{name}-");
            assert!(told.iter().filter(|told| told.text.contains(&mine)).count() >= 3, "{name}: {told:?}");
            for event in &told {
                assert_eq!(event.value()["user_id"], name.as_str());
                assert!(!event.text.replace(&mine, "").contains("canary-"), "{name}: {}", event.text);
            }
            assert!((1..).zip(&told).all(|(seq, told)| told.seq == seq), "{name}: no gap");
        }
    }

    async fn whoever_unsubscribes_or_leaves_stops_nothing(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        socket.subscribe("talk", 0).await;
        socket.say(json!({"type": "unsubscribe", "thread": "talk", "id": 1})).await;
        assert_eq!(socket.frame().await, json!({"type": "ack", "id": 1, "thread_id": "talk"}));
        ada.ended(json!({"agent": "echo", "thread_id": "talk"})).await;
        socket.answers().await;
        socket.say(json!({"type": "start", "agent": "sleep", "id": 2})).await;
        let run = socket.frame().await["run"]["run_id"].as_str().unwrap().to_owned();
        drop(socket);
        until_async("it ends without anybody who listens", async || {
            ada.get(&format!("/v1/runs/{run}")).await.is(200)["status"] == "completed"
        })
        .await;
    }

    /// A socket does everything that HTTP does with runs.
    async fn a_run_is_started_answered_and_stopped_over_one_socket(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        let start = json!({"type": "start", "id": "s", "agent": "odyssey", "thread_id": "sea", "subscribe": true,
                           "idempotency_key": "k"});
        socket.say(start.clone()).await;
        let ack = socket.frame().await;
        let run = ack["run"]["run_id"].as_str().unwrap().to_owned();
        assert_eq!((&ack["type"], &ack["id"], &ack["after"]), (&json!("ack"), &json!("s"), &json!(0)), "{ack}");
        let mut told: Vec<Told> = Vec::new();
        while told.last().is_none_or(|last| last.kind != "agent_waiting" || last.run != run
            || !last.value()["data"]["question"].is_object()) {
            told.push(socket.told().await);
        }
        socket.say(json!({"type": "answer", "id": "a", "run_id": run, "answer": "neither"})).await;
        let refused = socket.frame().await;
        assert_eq!(refused["problem"]["type"], "urn:insula:problem:invalid-input", "{refused}");
        socket.say(json!({"type": "answer", "id": "b", "run": run, "answer": "Scylla"})).await;
        let mut ack = Value::Null;
        while !told.last().is_some_and(|last| last.ends(&run)) || ack.is_null() {
            let Heard::Text(text) = socket.hear().await else { panic!("it is open") };
            match event(&text) {
                Some(event) => told.push(event),
                None => ack = serde_json::from_str(&text).unwrap(),
            }
        }
        assert_eq!(ack, json!({"type": "ack", "id": "b", "run_id": run, "answer": "recorded"}));
        same("what it was told", &told, &log_at(&ada, "/v1/threads/sea/events").await, &run);
        socket.say(json!({"type": "cancel", "id": "c", "run_id": run})).await;
        let ack = socket.frame().await;
        assert_eq!(ack, json!({"type": "ack", "id": "c", "run_id": run, "cancel": {"ended": "completed"}}));
    }
}
