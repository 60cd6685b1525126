//! Who may come in to a socket and who has to leave it: tickets, origins, keys that are revoked, silence.

use std::time::Duration;

use insula_server::auth::{Access, Role};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use super::{house::House, socket::Socket};
use crate::support::{Backing, Island, on_every_backend, until_async};

on_every_backend! {
    /// At once, whatever is open; other credentials of the same user are not touched.
    async fn what_is_open_with_a_key_ends_when_it_is_revoked(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let lost = house.mint(&house.island.user("ada"), &[Role::User], Access::Write).await;
        let thief = house.caller(lost.shown.expose());
        ada.ended(json!({"agent": "echo", "thread_id": "talk"})).await;
        let (mut hers, mut stolen) = (house.socket(&ada).await, house.socket(&thief).await);
        let mut her_stream = ada.stream("/v1/threads/talk/events", None).await;
        let mut stolen_stream = thief.stream("/v1/threads/talk/events", None).await;
        let ticket = thief.post("/v1/tickets", json!({})).await.is(201)["ticket"].as_str().unwrap().to_owned();
        assert!(her_stream.told().await.is_some() && stolen_stream.told().await.is_some());
        stolen.answers().await;
        ada.delete(&format!("/v1/keys/{}", lost.record.id)).await.is(200);
        assert_eq!(stolen.close_code().await, Some(1008));
        while stolen_stream.told().await.is_some() {}
        thief.get("/v1/me").await.refuses(401, "unauthenticated");
        let knocked = Socket::knock(house.address, &format!("/v1/socket?ticket={ticket}"), &[]).await;
        assert_eq!(knocked.err(), Some(401), "its ticket went with it");
        hers.answers().await;
        ada.ended(json!({"agent": "echo", "thread_id": "talk"})).await;
        while her_stream.told().await.expect("it goes on").seq < 4 {}
    }

    async fn a_ticket_is_good_once(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let shown = ada.post("/v1/tickets", json!({})).await.is(201);
        let path = format!("/v1/socket?ticket={}", shown["ticket"].as_str().unwrap());
        let mut socket = Socket::knock(house.address, &path, &[]).await.expect("the first time");
        socket.subscribe("talk", 0).await;
        let run = ada.submitted(json!({"agent": "echo", "thread_id": "talk"})).await;
        assert!(socket.until_end_of(&run).await.len() >= 2, "it is hers");
        assert_eq!(Socket::knock(house.address, &path, &[]).await.err(), Some(401), "the second time");
        let invented = format!("/v1/socket?ticket={}", "A".repeat(43));
        assert_eq!(Socket::knock(house.address, &invented, &[]).await.err(), Some(401));
        // It opens the socket and nothing else.
        let elsewhere = ada.post("/v1/tickets", json!({})).await.is(201);
        let path = format!("/v1/runs?ticket={}", elsewhere["ticket"].as_str().unwrap());
        house.nobody().get(&path).await.refuses(401, "unauthenticated");
    }
}

async fn tell<F: Future<Output = ()>>(story: impl FnOnce(Island) -> F) {
    Backing::Memory.tell(story).await;
}

/// A page of somebody else cannot use what a browser brings along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_opens_no_socket_and_calls_no_route() {
    tell(async |island: Island| {
        let house = House::with(island, |settings| settings.origins = vec!["https://app.example.org".to_owned()]).await;
        let ada = house.user("ada").await;
        let bearer = format!("Bearer {}", ada.bearer());
        let own = format!("http://{}", house.address);
        for (origin, lets_in) in [
            (own.as_str(), true),
            ("https://app.example.org", true),
            ("https://evil.example.org", false),
            ("https://app.example.org.evil.org", false),
            ("null", false),
        ] {
            let headers = [("authorization", bearer.as_str()), ("origin", origin)];
            let knocked = Socket::knock(house.address, "/v1/socket", &headers).await;
            assert_eq!(knocked.err(), (!lets_in).then_some(403), "{origin}");
            let ticket = ada.post("/v1/tickets", json!({})).await.is(201)["ticket"].as_str().unwrap().to_owned();
            let path = format!("/v1/socket?ticket={ticket}");
            let knocked = Socket::knock(house.address, &path, &[("origin", origin)]).await;
            assert_eq!(knocked.err(), (!lets_in).then_some(403), "{origin}, with a ticket");
            let answer = ada.with("origin", origin).get("/v1/me").await;
            assert_eq!(answer.status, if lets_in { 200 } else { 403 }, "{origin}");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed == origin, origin == "https://app.example.org", "{origin}: {answer:?}");
            let asking = house.nobody().with("origin", origin).with("access-control-request-method", "POST");
            let leave = asking.ask("OPTIONS", "/v1/runs", None).await;
            let allowed = leave.header("access-control-allow-origin");
            assert_eq!(allowed == origin, origin == "https://app.example.org", "{origin}: {leave:?}");
        }
    })
    .await;
}

const BEAT: Duration = Duration::from_millis(500);

fn quick(island: Island) -> Island {
    island.limits(|limits| (limits.heartbeat, limits.connections) = (BEAT, 1))
}

/// EVT-20 at the wire: it answers no ping, so its place is given to others and its connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_no_ping_is_closed() {
    tell(async |island: Island| {
        let house = House::open(quick(island)).await;
        let ada = house.user("ada").await;
        let mut mute = house.socket(&ada).await;
        // Its system takes the bytes, and nobody says anything to them.
        let stream = mute.0.get_mut();
        let (mut heard, mut pings) = ([0; 256], 0);
        loop {
            let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut heard)).await;
            match read.expect("it is closed in time") {
                Ok(0) | Err(_) => break,
                Ok(read) => pings += heard[..read].iter().filter(|byte| **byte == 0x89).count(),
            }
        }
        assert!((1..=5).contains(&pings), "it was asked {pings} times");
        until_async("another one may come", async || Socket::open(house.address, ada.bearer()).await.is_ok()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_pings_stays_however_little_it_says() {
    tell(async |island: Island| {
        let house = House::open(quick(island)).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        let mut pings = 0;
        while pings < 8 {
            match socket.message().await {
                Some(Ok(Message::Ping(_))) => pings += 1,
                other => panic!("after {pings} pings: {other:?}"),
            }
        }
        socket.answers().await;
        assert_eq!(Socket::open(house.address, ada.bearer()).await.err(), Some(429), "it has its place still");
    })
    .await;
}
