//! What is sent by mistake or in malice: refused with words, without harm, and without a trace.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::{
    house::House,
    raw,
    socket::Socket,
    table::{Gate, ROUTES, Row},
    web::{Answer, Caller},
};
use crate::support::{Backing, Island, on_every_backend};

/// Bytes of a body that are taken in these tests.
const BODY: usize = 16 << 10;

async fn sends(caller: &Caller, row: &Row, kind: &str, body: Vec<u8>) -> Answer {
    let path = row.path.replace('{', "the-").replace('}', "");
    let request = caller.request(row.method, &path).header("content-type", kind).body(body);
    Answer::of(request.send().await.unwrap()).await
}

/// Bodies that are none, and what they are refused as.
fn bodies(row: &Row) -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut unknown: Value = serde_json::from_str(row.body).unwrap();
    let fields: Vec<String> = unknown.as_object().unwrap().keys().cloned().collect();
    let mut wrong = unknown.clone();
    fields.iter().filter(|field| *field != "input" && *field != "answer").for_each(|field| wrong[field] = json!([{}]));
    unknown["user_id_"] = json!("bob");
    let deep = format!("{{\"{}\": {}1{}}}", fields[0], "[".repeat(5_000), "]".repeat(5_000));
    let mut bytes = row.body.as_bytes().to_vec();
    bytes.insert(2, 0xff);
    vec![
        ("cut off", row.body.as_bytes()[..row.body.len() - 3].to_vec(), 400),
        ("an array", b"[1, 2]".to_vec(), 400),
        ("a word", b"salve".to_vec(), 400),
        ("two values", format!("{0} {0}", row.body).into_bytes(), 400),
        ("not UTF-8", bytes, 400),
        ("deep", deep.into_bytes(), 400),
        ("an unknown field", unknown.to_string().into_bytes(), 400),
        ("wrong types", wrong.to_string().into_bytes(), 400),
        ("too large", format!("{{\"x\": \"{}\"}}", "x".repeat(BODY)).into_bytes(), 413),
    ]
}

/// The server goes on, and this user has nothing.
async fn is_untouched(house: &House, caller: &Caller) {
    assert_eq!(house.nobody().get("/healthz").await.is(200), json!({"status": "alive"}));
    for path in ["/v1/runs", "/v1/threads", "/v1/schedules", "/v1/inbox", "/v1/webhooks", "/v1/audit"] {
        assert_eq!(caller.get(path).await.is(200)["items"], json!([]), "{path}");
    }
    caller.ended(json!({"agent": "echo", "input": "it still works"})).await;
}

on_every_backend! {
    async fn a_body_that_is_none_is_refused_and_nothing_comes_of_it(island: Island) {
        let house = House::with(island, |settings| settings.body_bytes = BODY).await;
        let ada = house.user("ada").await;
        let taking = |row: &&Row| row.gate == Gate::Writer && !row.body.is_empty();
        for row in ROUTES.iter().filter(taking) {
            for (what, body, status) in bodies(row) {
                let answer = sends(&ada, row, "application/json", body).await;
                let name = if status == 413 { "too-large" } else { "invalid-request" };
                assert_eq!(answer.status, status, "{}: {what}: {answer:?}", row.name());
                answer.refuses(status, name);
            }
            for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"] {
                let answer = sends(&ada, row, kind, row.body.as_bytes().to_vec()).await;
                assert_eq!(answer.status, 415, "{}: {kind}: {answer:?}", row.name());
                answer.refuses(415, "unsupported-media-type");
            }
        }
        is_untouched(&house, &ada).await;
    }

    async fn an_id_that_is_none_is_refused_wherever_it_stands(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let long = "x".repeat(129);
        let ids = ["null", "undefined", "Anonymous", "%20", "a%0Ab", "%00", "%1b[31m", &long, "%7Buser_id%7D"];
        let own = |row: &&Row| matches!(row.gate, Gate::Reader | Gate::Writer) && row.path.contains("_id}");
        for row in ROUTES.iter().filter(own).filter(|row| !row.path.contains("key_id")) {
            let body: Option<Value> = (!row.body.is_empty()).then(|| serde_json::from_str(row.body).unwrap());
            for id in ids {
                let path = row.path.replace("{run_id}", id).replace("{thread_id}", id);
                let answer = ada.ask(row.method, &path, body.as_ref()).await;
                assert_eq!(answer.status, 400, "{} with {id}: {answer:?}", row.name());
                assert!(!answer.text.contains('\u{1b}'), "{answer:?}");
            }
        }
        for field in ["run_id", "thread_id"] {
            for id in ["null", " ", "a\nb", long.as_str()] {
                ada.post("/v1/runs", json!({"agent": "echo", field: id})).await.refuses(400, "invalid-request");
            }
        }
        for path in ["/v1/runs/a%2Fb", "/v1/runs/..%2F..%2Fetc%2Fpasswd", "/v1/threads/%2e%2e%2f", "/..%2f..%2fCargo.toml"] {
            ada.get(path).await.refuses(404, "not-found");
        }
        is_untouched(&house, &ada).await;
    }

    async fn a_query_that_makes_no_sense_is_refused(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        ada.ended(json!({"agent": "echo", "run_id": "r-1"})).await;
        for path in [
            "/v1/runs?limit=0", "/v1/runs?limit=1001", "/v1/runs?limit=many", "/v1/runs?cursor=nothing",
            "/v1/runs?status=asleep", "/v1/runs?thread_id=null", "/v1/inbox?run_id=%00", "/v1/webhooks?state=lost",
            "/v1/usage?from=yesterday", "/v1/usage?from=2026-02-02&to=2026-01-01", "/v1/audit?after=-1",
            "/v1/payloads/short", "/v1/threads?cursor=%ff",
        ] {
            let answer = ada.get(path).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            answer.refuses(400, "invalid-request");
        }
        for wait in ["soon", "-1s", "1"] {
            let answer = ada.post(&format!("/v1/runs?wait={wait}"), json!({"agent": "echo"})).await;
            answer.refuses(400, "invalid-request");
        }
        let all = ada.get("/v1/runs?what_is_not_known=1").await.is(200);
        assert_eq!(all["items"].as_array().unwrap().len(), 1, "nothing came of it: {all}");
    }

    async fn frames_that_are_none_are_refused_and_those_that_are_too_much_end_the_socket(island: Island) {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        let mut socket = house.socket(&ada).await;
        let deep = "[".repeat(100_000);
        for text in ["", "{", "[]", "salve", "{\"type\":7}", "{\"type\":\"halt\"}", &deep,
                     "{\"type\":\"subscribe\",\"thread_id\":\"null\"}", "{\"type\":\"start\",\"agent\":\"echo\",\"x\":1}"] {
            socket.send(Message::text(text)).await;
            let frame = socket.frame().await;
            assert_eq!((&frame["type"], &frame["problem"]["status"]), (&json!("error"), &json!(400)), "{frame}");
        }
        socket.answers().await;
        let too_much = [
            (raw::frame(raw::TEXT, &[0xff, 0xfe]), 1007),
            (raw::frame(raw::BINARY, b"{\"type\":\"ping\"}"), 1003),
            // What it announces is enough.
            (raw::frame(raw::TEXT, &vec![b' '; (1 << 20) + 1])[..64].to_vec(), 1009),
        ];
        for (bytes, code) in too_much {
            let mut stream = TcpStream::connect(house.address).await.unwrap();
            stream.write_all(raw::upgrade(house.address, ada.bearer()).as_bytes()).await.unwrap();
            raw::head(&mut stream).await;
            stream.write_all(&bytes).await.unwrap();
            assert_eq!(Socket::of(stream).await.close_code().await, Some(code));
        }
        // Half closed: what cannot say anything any more is not waited for.
        let mut half = TcpStream::connect(house.address).await.unwrap();
        half.write_all(raw::upgrade(house.address, ada.bearer()).as_bytes()).await.unwrap();
        raw::head(&mut half).await;
        half.shutdown().await.unwrap();
        raw::until_closed(&mut half).await;
        socket.answers().await;
        is_untouched(&house, &ada).await;
    }
}

/// What HTTP itself does not allow, and what takes too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_too_large_or_too_slow_end_and_others_go_on() {
    Backing::Memory
        .tell(async |island: Island| {
            let house = House::with(island, |settings| settings.header_time = Duration::from_millis(300)).await;
            let ada = house.user("ada").await;
            ada.get(&format!("/v1/runs?x={}", "x".repeat(9_000))).await.refuses(414, "uri-too-long");
            let request =
                |line: &str, headers: &str| format!("{line}\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
            let much = "x".repeat(64 << 10);
            let wrong = [
                (request(&format!("GET /{much} HTTP/1.1"), ""), &[414, 431][..]),
                (request("GET /healthz HTTP/1.1", &format!("X: {much}\r\n")), &[431]),
                (request("GET /healthz HTTP/1.1", &"A: b\r\n".repeat(5_000)), &[431]),
                (request("GET /healthz HTTP/9.9", ""), &[400, 505]),
                (request("G\u{1}T /healthz HTTP/1.1", ""), &[400]),
                (request("GET /healthz HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"), &[400]),
                ("GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned(), &[400]),
            ];
            for (bytes, allowed) in wrong {
                let said = raw::exchange(house.address, bytes.as_bytes()).await;
                // Where the client still sends, the system may take the answer away with the connection.
                let status = raw::status(&said);
                assert!(status.is_none_or(|status| allowed.contains(&status)), "{:?}: {said}", &bytes[..40]);
            }
            // Half a request, a byte, nothing at all: neither is waited for.
            for begun in [
                "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow:",
                "GET /heal",
                "P",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "",
            ] {
                let said = raw::exchange(house.address, begun.as_bytes()).await;
                assert!(matches!(raw::status(&said), None | Some(408 | 400)), "{begun:?}: {said}");
            }
            is_untouched(&house, &ada).await;
        })
        .await;
}

/// What is begun with a known credential and never finished holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_comes_is_given_up() {
    Backing::Memory
        .tell(async |island: Island| {
            let house = House::with(island, |settings| settings.request_time = Duration::from_millis(300)).await;
            let ada = house.user("ada").await;
            let bytes = format!(
                "POST /v1/runs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
                 Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"agent\"",
                ada.bearer()
            );
            let said = raw::exchange(house.address, bytes.as_bytes()).await;
            assert_eq!(raw::status(&said), Some(408), "{said}");
            assert!(said.contains("urn:insula:problem:request-timeout"), "{said}");
            is_untouched(&house, &ada).await;
        })
        .await;
}
