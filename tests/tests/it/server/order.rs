//! Commands are done one after the other, in the order in which they were sent, and never before it is known of whom.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{house::House, raw, socket::Socket};
use crate::support::{Island, on_every_backend, until_async};

/// Commands of which each only makes sense after the one before.
fn commands() -> Vec<Value> {
    vec![
        json!({"type": "ping", "id": 0}),
        json!({"type": "start", "id": 1, "agent": "hold", "run_id": "r-1", "thread_id": "t-1"}),
        json!({"type": "start", "id": 2, "agent": "hold", "run_id": "r-1", "thread_id": "t-1"}),
        json!({"type": "cancel", "id": 3, "run_id": "r-2"}),
        json!({"type": "start", "id": 4, "agent": "echo", "run_id": "r-2"}),
        json!({"type": "no such command", "id": 5}),
        json!({"type": "start", "id": 6, "agent": "echo", "thread_id": "t-1", "policy": "reject"}),
        json!({"type": "cancel", "id": 7, "run_id": "r-1"}),
        json!({"type": "unsubscribe", "id": 8, "thread_id": "t-1"}),
        json!({"type": "ping", "id": 9}),
    ]
}

/// What they are answered: the type, and the status of the problem.
const ANSWERS: [(&str, u64); 10] = [
    ("pong", 0),
    ("ack", 0),
    ("error", 409),
    ("ack", 0),
    ("ack", 0),
    ("error", 400),
    ("error", 409),
    ("ack", 0),
    ("ack", 0),
    ("pong", 0),
];

async fn answered_in_order(socket: &mut Socket) {
    for (id, (kind, status)) in ANSWERS.into_iter().enumerate() {
        let frame = socket.frame().await;
        assert_eq!((&frame["id"], &frame["type"]), (&json!(id), &json!(kind)), "{frame}");
        assert_eq!(frame["problem"]["status"].as_u64().unwrap_or_default(), status, "{frame}");
    }
}

/// An agent that ends when it is stopped.
fn holding(island: Island) -> Island {
    island.class(crate::engine::stage::class("hold", |_, _| async move {
        std::future::pending::<()>().await;
        Ok(json!(true))
    }))
}

on_every_backend! {
    async fn commands_are_done_in_the_order_in_which_they_came(island: Island) {
        let house = House::open(holding(island)).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        for command in commands() {
            socket.say(command).await;
        }
        answered_in_order(&mut socket).await;
        for run in ["r-1", "r-2"] {
            let is_stopped = async || ada.get(&format!("/v1/runs/{run}")).await.is(200)["status"] == "cancelled";
            until_async(&format!("{run} is stopped, as was asked for"), is_stopped).await;
        }
    }

    /// EVT-23: between the request and its answer, in the same packet as the request.
    async fn what_is_sent_before_anything_is_read_is_done_in_order(island: Island) {
        let house = House::open(holding(island)).await;
        let ada = house.user("ada").await;
        let mut bytes = raw::upgrade(house.address, ada.bearer()).into_bytes();
        for command in commands() {
            bytes.extend(raw::frame(raw::TEXT, command.to_string().as_bytes()));
        }
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(raw::status(&raw::head(&mut stream).await), Some(101));
        answered_in_order(&mut Socket::of(stream).await).await;
    }

    /// EVT-23: nothing is done for whoever is not known.
    async fn what_somebody_unknown_sends_along_is_never_done(island: Island) {
        let house = House::open(holding(island)).await;
        let ada = house.user("ada").await;
        let stranger = format!("insula_0123456789abcdef_{}", "A".repeat(43));
        let mut bytes = raw::upgrade(house.address, &stranger).into_bytes();
        for command in commands() {
            bytes.extend(raw::frame(raw::TEXT, command.to_string().as_bytes()));
        }
        let said = raw::exchange(house.address, &bytes).await;
        assert_eq!(raw::status(&said), Some(401), "{said}");
        assert!(!said.contains("pong") && !said.contains("\"ack\""), "{said}");
        assert_eq!(ada.get("/v1/runs").await.is(200)["items"], json!([]));
    }

    /// The answer to a subscription comes before its first event, and events come in the order of the log.
    async fn an_ack_comes_before_what_it_promises(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        for n in 0..20 {
            let start = json!({"type": "start", "id": n, "agent": "echo", "thread_id": format!("t-{n}"), "subscribe": true});
            socket.say(start).await;
            let ack = socket.frame().await;
            assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &json!(n)), "{ack}");
            let told = socket.until_end_of(ack["run"]["run_id"].as_str().unwrap()).await;
            assert!((1..).zip(&told).all(|(seq, told)| told.seq == seq), "{told:?}");
        }
    }
}
