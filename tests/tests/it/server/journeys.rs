//! What people do with the API, from beginning to end.

use std::time::Duration;

use insula_server::auth::{Access, Role};
use serde_json::{Value, json};

use super::{
    house::House,
    resuming::odyssey,
    socket::Socket,
    told::{ended_log, log_of},
    web::Answer,
};
use crate::{
    engine::stage::{Gate, held},
    support::{Gauge, Island, on_every_backend, until, until_async},
};

on_every_backend! {
    async fn a_submission_that_is_sent_again_is_the_same_run(island: Island) {
        let house = House::open(island).await;
        let (ada, bob) = (house.user("ada").await, house.user("bob").await);
        let order = json!({"agent": "echo", "input": "salve"});
        let keyed = ada.with("idempotency-key", "order-7");
        let first = keyed.submitted(order.clone()).await;
        assert_eq!(keyed.submitted(order.clone()).await, first);
        assert_eq!(keyed.ended(order.clone()).await["run_id"], first.as_str());
        let mut socket = house.socket(&ada).await;
        socket.say(json!({"type": "start", "agent": "echo", "input": "salve", "idempotency_key": "order-7"})).await;
        assert_eq!(socket.frame().await["run"]["run_id"], first.as_str());
        assert_ne!(bob.with("idempotency-key", "order-7").submitted(order.clone()).await, first, "keys are one's own");
        assert_ne!(ada.submitted(order.clone()).await, first);
        for none in [" ", &"k".repeat(256)] {
            ada.with("idempotency-key", none).post("/v1/runs", order.clone()).await.refuses(400, "invalid-request");
        }
        assert_eq!(ada.get("/v1/runs").await.is(200)["items"].as_array().unwrap().len(), 2);
    }

    async fn whoever_waits_has_the_result_or_the_run_as_it_stands(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let house = House::open(island.class(held("held", &gauge, &gate))).await;
        let ada = house.user("ada").await;
        let order = json!({"agent": "held", "run_id": "r-1", "input": 7});
        let stands = ada.post("/v1/runs?wait=50ms", order).await.is(202);
        assert!(["queued", "running"].contains(&stands["status"].as_str().unwrap()), "{stands}");
        gate.open();
        let large = "x".repeat(40_000);
        let ended = ada.ended(json!({"agent": "held", "input": large})).await;
        assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!({"held": large})), "as a whole");
    }

    async fn a_deadline_is_a_duration_or_a_time(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let house = House::open(island.class(held("held", &gauge, &gate))).await;
        let ada = house.user("ada").await;
        for by_time in [false, true] {
            let soon = house.island.factory().clock().now().plus(Duration::from_secs(1));
            let deadline = if by_time { serde_json::to_value(soon).unwrap() } else { json!("200ms") };
            let ended = ada.ended(json!({"agent": "held", "deadline": deadline})).await;
            assert_eq!((&ended["status"], &ended["failure"]["reason"]), (&json!("failed"), &json!("timeout")), "{ended}");
        }
        for deadline in [json!("2001-01-01T00:00:00Z"), json!("0s"), json!("soon"), json!(90)] {
            ada.post("/v1/runs", json!({"agent": "held", "deadline": deadline})).await.refuses(400, "invalid-request");
        }
        let both = json!({"agent": "echo", "delay": "1h", "at": "2100-01-01T00:00:00Z"});
        ada.post("/v1/runs", both).await.refuses(400, "invalid-request");
        let later = ada.post("/v1/runs", json!({"agent": "echo", "at": "2100-01-01T00:00:00Z"})).await.is(202);
        assert_eq!(later["status"], "queued");
        gate.open();
    }

    async fn a_run_that_was_exported_is_anothers_when_it_is_imported(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let (ada, bob) = (house.user("ada").await, house.user("bob").await);
        let order = json!({"agent": "tools", "run_id": "r-1", "thread_id": "talk"});
        ada.ended(order).await;
        let export = ada.get("/v1/runs/r-1/export?part=whole").await;
        export.is_lines();
        let import = bob.request("POST", "/v1/runs/import?thread_id=mine").header("content-type", "application/x-ndjson");
        let taken = Answer::of(import.body(export.text.clone()).send().await.unwrap()).await.is(201);
        assert_eq!((&taken["run_id"], &taken["thread_id"], &taken["runs"]), (&json!("r-1"), &json!("mine"), &json!(1)));
        let (hers, his) = (log_of(&ada, "r-1").await, log_of(&bob, "r-1").await);
        assert_eq!(hers.len(), his.len());
        for (hers, his) in hers.iter().zip(&his) {
            let (mut hers, his) = (hers.value(), his.value());
            (hers["user_id"], hers["thread_id"]) = (json!("bob"), json!("mine"));
            assert_eq!(hers, his);
        }
        let replay = bob.post("/v1/runs/r-1/replay", json!({})).await.is(200);
        assert_eq!((&replay["same_events"], &replay["same_end"]), (&json!(true), &json!(true)), "{replay}");
        assert_eq!(replay["difference"], Value::Null, "{replay}");
        for broken in ["{}", "salve", &export.text[..export.text.len() / 2]] {
            let import = bob.request("POST", "/v1/runs/import").header("content-type", "application/x-ndjson");
            let answer = Answer::of(import.body(broken.to_owned()).send().await.unwrap()).await;
            answer.refuses(422, "invalid-input");
        }
    }

    async fn usage_is_the_sum_of_what_was_run(island: Island) {
        let house = House::open(island).await;
        let (ada, bob) = (house.user("ada").await, house.user("bob").await);
        for agent in ["echo", "echo", "tools", "fail"] {
            ada.ended(json!({"agent": agent})).await;
        }
        let usage = ada.get("/v1/usage").await.is(200);
        let of = |agent: &str, field: &str| -> u64 {
            let rows = usage["items"].as_array().unwrap().iter().filter(|row| row["agent"] == agent);
            rows.map(|row| row[field].as_u64().unwrap()).sum()
        };
        assert_eq!((of("echo", "completed"), of("tools", "completed"), of("fail", "failed")), (2, 1, 1), "{usage}");
        assert_eq!((of("fail", "completed"), of("echo", "cancelled")), (0, 0), "{usage}");
        assert!(usage["items"].as_array().unwrap().iter().all(|row| row["p50_ms"].as_u64() <= row["p95_ms"].as_u64()));
        assert_eq!(ada.get("/v1/usage?from=2001-01-01&to=2001-01-02").await.is(200)["items"], json!([]));
        assert_eq!(bob.get("/v1/usage").await.is(200)["items"], json!([]));
    }

    /// What an admin sets holds for this user from the next idle moment on, and for nobody else.
    async fn limits_of_one_user_are_set_and_taken_back(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let house = House::open(island.class(held("held", &gauge, &gate))).await;
        let (ada, bob) = (house.user("ada").await, house.user("bob").await);
        let root = house.mint(&house.island.user("root"), &[Role::Admin], Access::Write).await;
        let root = house.caller(root.shown.expose());
        let path = "/v1/admin/limits/acme/ada";
        root.get(path).await.refuses(404, "not-found");
        let set = root.ask("PUT", path, Some(&json!({"running": 1, "connections": 2}))).await.is(200);
        assert_eq!(set, json!({"running": 1, "connections": 2}));
        assert_eq!(root.get(path).await.is(200), set);
        let mut sockets = vec![house.socket(&ada).await, house.socket(&ada).await];
        assert_eq!(Socket::open(house.address, ada.bearer()).await.err(), Some(429));
        for n in 0..3 {
            ada.submitted(json!({"agent": "held", "thread_id": format!("t-{n}")})).await;
            bob.submitted(json!({"agent": "held", "thread_id": format!("t-{n}")})).await;
        }
        until("one of hers and all of his", || gauge.now() == 4).await;
        gate.open();
        until_async("all have ended", async || {
            ada.get("/v1/runs?status=completed").await.is(200)["items"].as_array().unwrap().len() == 3
        })
        .await;
        assert_eq!(root.delete(path).await.is(204), Value::Null);
        root.delete(path).await.refuses(404, "not-found");
        sockets.clear();
        until_async("she may have as many as everybody", async || {
            let mut third = Vec::new();
            for _ in 0..3 {
                third.extend(Socket::open(house.address, ada.bearer()).await.ok());
            }
            third.len() == 3
        })
        .await;
        root.ask("PUT", path, Some(&json!({"runs": 1}))).await.refuses(400, "invalid-request");
    }

    /// Retried, forked, deleted: what is gone is gone, and what is left goes on.
    async fn a_conversation_is_retried_forked_and_deleted(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        ada.ended(json!({"agent": "echo", "input": 1, "run_id": "r-1", "thread_id": "talk"})).await;
        let again = ada.post("/v1/runs/r-1/retry", json!({})).await.is(202);
        assert_eq!(again["thread_id"], "talk");
        ended_log(&ada, again["run_id"].as_str().unwrap()).await;
        ada.post("/v1/threads/talk/fork", json!({"seq": 2, "thread_id": "other"})).await.is(201);
        ada.delete("/v1/threads/talk").await.refuses(409, "conflict");
        ada.delete("/v1/threads/other").await.is(200);
        ada.delete("/v1/threads/talk").await.is(200);
        for path in ["/v1/runs/r-1", "/v1/runs/r-1/events", "/v1/threads/talk", "/v1/threads/talk/events"] {
            ada.get(path).await.refuses(404, "not-found");
        }
        ada.ended(json!({"agent": "echo", "thread_id": "talk"})).await;
        ada.delete("/v1/me?confirm=bob").await.refuses(400, "invalid-request");
        assert_eq!(ada.delete("/v1/me?confirm=ada").await.is(200), json!({"threads": 1, "runs": 1}));
        assert_eq!(ada.get("/v1/runs").await.is(200)["items"], json!([]));
        ada.get("/v1/me").await.is(200);
    }
}

impl Answer {
    /// Lines of JSON.
    fn is_lines(&self) {
        assert_eq!((self.status, self.header("content-type")), (200, "application/x-ndjson"), "{self:?}");
        assert!(self.text.ends_with('\n'));
        self.text.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
    }
}
