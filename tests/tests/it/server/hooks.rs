//! Somebody is told of a run's end, and can make sure by whom.

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use insula_server::webhooks::PlainHttp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{house::House, raw};
use crate::support::{Island, on_every_backend, until, until_async};

const SECRET: &str = "shared with the receiver";

/// A call as the receiver got it.
#[derive(Debug, Clone)]
struct Call {
    head: String,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let named = |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }

    /// The signature, computed anew from what came.
    fn signature(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signed = format!("{}.{}", self.header("insula-timestamp"), self.body);
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("v1={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;

async fn take(mut stream: TcpStream, calls: Calls, status: u16) {
    let head = raw::head(&mut stream).await;
    let call = Call { head, body: String::new() };
    let mut body = vec![0; call.header("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    calls.lock().unwrap().push(Call { body: String::from_utf8(body).unwrap(), ..call });
    let answer = format!("HTTP/1.1 {status} OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// Answers every call with this status; its URL, and what came.
async fn receiver(status: u16) -> (String, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let calls = Calls::default();
    let taken = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, Arc::clone(&taken), status));
        }
    });
    (url, calls)
}

async fn open(island: Island) -> House {
    House::with(island, |settings| {
        settings.webhooks.plain_http = PlainHttp::Allowed;
        settings.webhooks.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

on_every_backend! {
    async fn whoever_wants_to_know_is_told_of_the_end_and_can_verify_it(island: Island) {
        let house = open(island).await;
        let (url, calls) = receiver(204).await;
        let ada = house.user("ada").await;
        let webhook = json!({"url": url, "secret": SECRET});
        ada.ended(json!({"agent": "echo", "input": "salve", "run_id": "r-1", "webhook": webhook})).await;
        until("the receiver is called", || calls.lock().unwrap().len() == 1).await;
        until_async("it is known that it was", async || {
            ada.get("/v1/webhooks?state=delivered").await.is(200)["items"][0]["run_id"] == "r-1"
        })
        .await;
        let call = calls.lock().unwrap()[0].clone();
        assert_eq!(call.header("insula-signature"), call.signature());
        let body: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!((&body["type"], &body["run"]["run_id"]), (&json!("run.ended"), &json!("r-1")), "{body}");
        assert_eq!(body["delivery_id"], call.header("insula-delivery"));
        assert_eq!(body["run"]["status"], "completed");
        let sent = ada.post("/v1/webhooks/r-1/resend", json!({})).await.is(202);
        assert_eq!(sent["run_id"], "r-1");
        until("it is called again", || calls.lock().unwrap().len() == 2).await;
        let again = calls.lock().unwrap()[1].clone();
        assert_eq!(again.header("insula-delivery"), call.header("insula-delivery"), "a repetition can be recognised");
        assert_eq!(again.header("insula-signature"), again.signature());
        let shown = ada.get("/v1/webhooks").await;
        assert!(!shown.text.contains(SECRET), "{}", shown.text);
    }

    async fn a_receiver_that_fails_is_called_again_and_the_run_is_none_the_worse(island: Island) {
        let house = open(island).await;
        let (url, calls) = receiver(500).await;
        let ada = house.user("ada").await;
        let order = json!({"agent": "echo", "run_id": "r-1", "webhook": {"url": url, "secret": SECRET}});
        assert_eq!(ada.ended(order).await["status"], "completed");
        until("the receiver is called", || !calls.lock().unwrap().is_empty()).await;
        until_async("it is known that it failed", async || {
            ada.get("/v1/webhooks").await.is(200)["items"][0]["attempts"] == 1
        })
        .await;
        let call = ada.get("/v1/webhooks?state=due").await.is(200)["items"][0].clone();
        assert!(call["next_at"].is_string() && call["last_error"].as_str().unwrap().contains("500"), "{call}");
    }

    async fn a_webhook_into_the_house_is_refused(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        for url in ["http://example.org/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/meta",
                    "https://10.0.0.7/", "https://user:word@example.org/", "file:///etc/passwd", "salve"] {
            let order = json!({"agent": "echo", "webhook": {"url": url, "secret": SECRET}});
            let refused = ada.post("/v1/runs", order).await.refuses(422, "invalid-input");
            assert!(!refused["violations"].as_array().unwrap().is_empty(), "{url}: {refused}");
        }
        let short = json!({"agent": "echo", "webhook": {"url": "https://example.org/", "secret": "short"}});
        ada.post("/v1/runs", short).await.refuses(422, "invalid-input");
        assert_eq!(ada.get("/v1/runs").await.is(200)["items"], json!([]));
    }
}
