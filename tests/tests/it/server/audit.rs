//! What is written down of keys, deletions and exports: chained, of the user whom it concerns, without a secret.

use insula_infra::audit::verify;
use insula_server::auth::{Access, Role};
use serde_json::{Value, json};

use super::house::House;
use crate::support::{Island, on_every_backend};

on_every_backend! {
    async fn what_was_done_to_an_account_is_written_down_and_chained(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await.with("x-request-id", "req-1");
        let root = house.mint(&house.island.user("root"), &[Role::Admin], Access::Write).await;
        let root = house.caller(root.shown.expose());
        let made = ada.post("/v1/keys", json!({"name": "laptop"})).await.is(201);
        let (key, id) = (made["key"].as_str().unwrap(), made["key_id"].as_str().unwrap());
        ada.delete(&format!("/v1/keys/{id}")).await.is(200);
        ada.ended(json!({"agent": "echo", "input": "canary-content", "run_id": "r-1", "thread_id": "talk"})).await;
        ada.get("/v1/runs/r-1/export").await;
        let order = json!({"tenant_id": "acme", "user_id": "ada", "name": "of the admin"});
        let given = root.post("/v1/admin/keys", order).await.is(201);
        root.delete(&format!("/v1/admin/keys/{}", given["key_id"].as_str().unwrap())).await.is(200);
        root.ask("PUT", "/v1/admin/limits/acme/ada", Some(&json!({"running": 3}))).await.is(200);
        ada.delete("/v1/threads/talk").await.is(200);
        ada.delete("/v1/me?confirm=ada").await.is(200);
        let log = ada.get("/v1/audit").await.is(200);
        let entries = log["items"].as_array().unwrap();
        let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        let expected = ["key.created", "key.revoked", "run.exported", "key.created", "key.revoked", "limits.changed",
                        "thread.deleted", "user.deleted"];
        assert_eq!(actions, expected);
        assert!((1..).zip(entries).all(|(number, entry)| entry["number"] == number), "{log}");
        let by = |entry: &Value| entry["detail"]["by"]["user_id"].clone();
        assert_eq!((by(&entries[0]), by(&entries[3])), (json!("ada"), json!("root")), "who did it: {log}");
        assert_eq!(entries[0]["detail"]["from"], json!({"address": "127.0.0.1", "request_id": "req-1"}));
        let secret = key.rsplit('_').next().unwrap();
        let text = log.to_string();
        assert!(!text.contains(secret) && !text.contains("canary-content"), "{text}");
        let scope = house.island.user("ada");
        let verified = verify(&*house.island.ports().audit, &scope).await.unwrap();
        assert_eq!((verified.entries, verified.broken), (8, None));
        assert_eq!(root.get("/v1/audit").await.status, 403, "an admin has no account of a user's kind");
    }

    async fn the_audit_log_is_read_page_by_page_oldest_first(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        for n in 0..5 {
            ada.post("/v1/keys", json!({"name": format!("key {n}")})).await.is(201);
        }
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = ada.get(&format!("/v1/audit?after={after}&limit=2")).await.is(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()));
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        let bob = house.user("bob").await;
        assert_eq!(bob.get("/v1/audit").await.is(200)["items"], json!([]), "one's own");
    }
}
