//! Against a server that does what a script says, byte by byte.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Client, Error, Item, Json, Key, Patience, Tls};

const SECRET: &str = "insula_id_secret";

/// What is done with a connection once its request was read.
enum Act {
    /// Say this, and close.
    Say(String),
    /// Say this, and nothing more.
    Hang(String),
}

/// A server on a port of its own. It keeps what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the nth request as the script says.
    async fn new(mut script: impl FnMut(usize, &str) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let request = read(&mut connection).await;
                let act = script(heard.lock().unwrap().len(), &request);
                heard.lock().unwrap().push(request);
                match act {
                    Act::Say(bytes) => connection.write_all(bytes.as_bytes()).await.unwrap(),
                    Act::Hang(bytes) => {
                        connection.write_all(bytes.as_bytes()).await.unwrap();
                        open.push(connection);
                    }
                }
            }
        });
        Self { address, asked }
    }

    fn client(&self) -> Client {
        let ms = Duration::from_millis;
        let patience = Patience { pause: ms(1), longest_pause: ms(5), silence: ms(200), ..Patience::default() };
        Client::with_patience(&self.address, &Key::new(SECRET), patience).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A request with its body.
async fn read(connection: &mut TcpStream) -> String {
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut piece).await.unwrap();
        request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            assert!(read > 0, "a whole request was expected: {request}");
            continue;
        };
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return request;
        }
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let fields = request.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

fn answer(status: &str, kind: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

fn problem(status: &str, more: &str, body: &Value) -> Act {
    let (kind, body) = ("application/problem+json", body.to_string());
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status}\r\n{more}content-type: {kind}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

/// The beginning of a stream that is in pieces, so that its end can be told from its being cut off.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Events of a run, from one on.
fn events(after: u64, up_to: u64) -> String {
    let event = |seq| format!("id: {seq}\nevent: custom\ndata: {{\"seq\":{seq},\"type\":\"custom\"}}\n\n");
    (after + 1..=up_to).map(event).collect()
}

fn after(request: &str) -> u64 {
    header(request, "last-event-id").map_or(0, |id| id.parse().unwrap())
}

fn nothing_more() -> Act {
    Act::Say("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned())
}

/// Everything that a stream says up to its end: numbers of events, and the words for everything else.
async fn all(client: &Client, run: &str) -> Vec<String> {
    let (mut stream, mut said) = (client.follow(&["runs", run, "events"], 0).unwrap(), Vec::new());
    loop {
        match stream.next().await {
            Ok(Some(Item::Event { seq, event })) => {
                assert_eq!(event.read::<Value>().unwrap()["seq"], seq);
                said.push(seq.to_string());
            }
            Ok(Some(Item::Gap { after, next })) => said.push(format!("gap {after} {next}")),
            Ok(Some(Item::Lost(_))) => said.push("lost".to_owned()),
            Ok(Some(Item::Back)) => said.push("back".to_owned()),
            Ok(None) => return said,
            Err(error) => {
                said.push(format!("error {error}"));
                return said;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_loses_nothing_and_repeats_nothing() {
    let whole = format!("{STREAM}{}{}", chunk(&events(0, 2)), chunk(&events(2, 4)));
    let (length, mut seen) = (whole.len(), vec![0; whole.len() + 1]);
    // Each run's stream is cut at the byte that it is named after.
    let server = Server::new(move |_, request| {
        let cut: usize = request.split('/').nth(3).unwrap().parse().unwrap();
        seen[cut] += 1;
        match seen[cut] {
            1 => Act::Say(whole[..cut].to_owned()),
            // One event more than asked for: a client that believes everything would show it twice.
            2 => Act::Say(format!("{STREAM}{}0\r\n\r\n", chunk(&events(after(request).saturating_sub(1), 4)))),
            _ if after(request) == 4 => nothing_more(),
            _ => problem("400 Bad Request", "", &json!({"title": "it asks for what it has"})),
        }
    })
    .await;
    let client = server.client();
    for cut in 1..=length {
        let said = all(&client, &cut.to_string()).await;
        let seqs: Vec<_> = said.iter().filter(|word| *word != "lost" && *word != "back").collect();
        assert_eq!(seqs, ["1", "2", "3", "4"], "cut after {cut} bytes: {said:?}");
        assert_eq!(said.iter().filter(|word| *word == "lost").count(), 1, "cut after {cut} bytes: {said:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_ended_in_good_order_is_not_called_lost() {
    let server = Server::new(|_, request| match after(request) {
        3 => nothing_more(),
        after => Act::Say(format!("{STREAM}{}0\r\n\r\n", chunk(&events(after, after + 1)))),
    })
    .await;
    assert_eq!(all(&server.client(), "r").await, ["1", "2", "3"]);
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_connection_that_is_lost_and_back_is_said_once_each() {
    let server = Server::new(|nth, request| match nth {
        0 => Act::Hang(format!("{STREAM}{}", chunk(&events(0, 1)))),
        1 | 2 => answer("502 Bad Gateway", "text/html", "<h1>no</h1>"),
        3 => Act::Say(format!("{STREAM}{}0\r\n\r\n", chunk(&events(after(request), 2)))),
        _ => nothing_more(),
    })
    .await;
    assert_eq!(all(&server.client(), "r").await, ["1", "lost", "back", "2"]);
}

#[tokio::test]
async fn a_stream_gives_up_when_nothing_comes_of_its_attempts() {
    // It is greeted, and closed in good order: nothing else must keep the client from asking again and again.
    let closed = Server::new(|_, _| Act::Say(format!("{STREAM}{}0\r\n\r\n", chunk(": insula\n\n")))).await;
    let said = all(&closed.client(), "r").await;
    assert!(said[0] == "lost" && said.last().unwrap().ends_with("says nothing on its stream"), "{said:?}");
    assert_eq!(closed.asked().len(), Patience::default().openings);
}

#[tokio::test]
async fn a_sign_of_life_is_worth_as_much_as_an_event() {
    let server = Server::new(|nth, _| match nth {
        0..25 => Act::Say(format!("{STREAM}{}", chunk(": insula\n\n: alive\n\n"))),
        _ => nothing_more(),
    })
    .await;
    assert!(!all(&server.client(), "r").await.iter().any(|word| word.starts_with("error")));
}

#[tokio::test]
async fn what_no_repetition_changes_ends_a_stream_at_once() {
    let server = Server::new(|_, _| problem("404 Not Found", "", &json!({"title": "not found"}))).await;
    assert_eq!(all(&server.client(), "r").await, ["error not found"]);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_gap_is_handed_on_where_something_is_missing() {
    let gap = |after, next| format!("event: gap\ndata: {{\"type\":\"gap\",\"after\":{after},\"next\":{next}}}\n\n");
    let stream = format!("{STREAM}{}0\r\n\r\n", chunk(&[gap(0, 5), events(4, 6), gap(6, 7), events(6, 7)].concat()));
    let server = Server::new(move |nth, _| if nth == 0 { Act::Say(stream.clone()) } else { nothing_more() }).await;
    assert_eq!(all(&server.client(), "r").await, ["gap 0 5", "5", "6", "7"]);
    assert_eq!(after(&server.asked()[1]), 7);
}

#[tokio::test]
async fn what_is_safe_to_repeat_is_repeated_and_nothing_else() {
    let busy = || problem("503 Service Unavailable", "", &json!({"title": "unavailable", "detail": "storage is away"}));
    let flaky = async || {
        Server::new(move |nth, _| match nth {
            0 => Act::Say("HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
            1 => busy(),
            _ => answer("200 OK", "application/json", "{\"b\": 1, \"a\": 2}"),
        })
        .await
    };
    let (got, submitted, cancelled, asked) = (flaky().await, flaky().await, flaky().await, flaky().await);
    let fields_in_order = "{\"b\": 1, \"a\": 2}";
    assert_eq!(got.client().get(&["me"], &[]).await.unwrap().text(), fields_in_order);
    submitted.client().submit(&json!({"agent": "echo"}), None).await.unwrap();
    cancelled.client().cancel("r", "enough").await.unwrap();
    let body = Json::of(&json!({})).unwrap();
    let refused = asked.client().ask(reqwest::Method::POST, &["runs", "r", "retry"], &[], Some(&body)).await;
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    let counts = [&got, &submitted, &cancelled, &asked].map(|server| server.asked().len());
    assert_eq!(counts, [3, 3, 3, 1]);
    let keys: Vec<_> = submitted.asked().iter().map(|r| header(r, "idempotency-key").unwrap().to_owned()).collect();
    assert!(keys[0].len() >= 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn whoever_asks_for_much_time_is_not_waited_for() {
    let server =
        Server::new(|_, _| problem("429 Too Many Requests", "retry-after: 3600\r\n", &json!({"title": "rate"}))).await;
    let refused = server.client().get(&["runs"], &[]).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_in_the_servers_words_and_nobody_elses() {
    let said = json!({
        "type": "urn:insula:problem:invalid-input", "title": "invalid input", "status": 422, "request_id": "q-1",
        "detail": "the answer does not fit", "violations": ["one", "two"], "more": {"x": 1},
    });
    let server = Server::new(move |nth, _| match nth {
        0 => problem("422 Unprocessable Content", "", &said),
        _ => answer("403 Forbidden", "text/html", "<script>proxy</script>"),
    })
    .await;
    let refused = server.client().get(&["runs"], &[]).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.name(), problem.violations.len(), problem.status), ("invalid-input", 2, 422));
    assert_eq!((refused.to_string(), problem.request_id.as_deref()), ("the answer does not fit".into(), Some("q-1")));
    let strange = server.client().get(&["runs"], &[]).await.unwrap_err();
    assert!(matches!(strange, Error::Strange { status: 403, .. }) && !strange.to_string().contains("proxy"));
}

#[tokio::test]
async fn a_list_is_read_page_by_page_up_to_what_is_wanted() {
    let server = Server::new(|nth, _| {
        let page = json!({"items": [{"n": 2 * nth}, {"n": 2 * nth + 1}], "next": format!("c&{nth}")});
        answer("200 OK", "application/json", &page.to_string())
    })
    .await;
    let page = server.client().list(&["runs"], &[("status", "failed")], 4).await.unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (4, Some("c&1")));
    let first_lines: Vec<_> = server.asked().iter().map(|r| r.lines().next().unwrap().to_owned()).collect();
    assert_eq!(first_lines[0], "GET /v1/runs?status=failed&limit=4 HTTP/1.1");
    assert_eq!(first_lines[1], "GET /v1/runs?status=failed&limit=2&cursor=c%260 HTTP/1.1");
}

#[tokio::test]
async fn an_id_is_one_part_of_the_path_whatever_is_in_it() {
    let server = Server::new(|_, _| answer("200 OK", "application/json", "{}")).await;
    let client = server.client();
    client.get(&["runs", "a/../b?c#é"], &[]).await.unwrap();
    assert!(server.asked()[0].starts_with("GET /v1/runs/a%2F..%2Fb%3Fc%23%C3%A9 HTTP/1.1"), "{:?}", server.asked());
    for id in [".", "..", ""] {
        assert!(matches!(client.get(&["runs", id], &[]).await, Err(Error::Id { .. })), "{id:?}");
        assert!(matches!(client.follow(&["runs", id, "events"], 0), Err(Error::Id { .. })), "{id:?}");
    }
}

#[tokio::test]
async fn lines_come_as_they_were_written() {
    let server = Server::new(|_, _| answer("200 OK", "application/x-ndjson", "{\"a\": 1}\n{\"b\":2}\n")).await;
    let mut lines = server.client().lines(&["runs", "r", "export"], &[]).await.unwrap();
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        read.push(line);
    }
    assert_eq!(read, ["{\"a\": 1}", "{\"b\":2}"]);
    let cut = Server::new(|_, _| Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}\n{".to_owned())).await;
    let mut lines = cut.client().lines(&["runs", "r", "export"], &[]).await.unwrap();
    assert_eq!(lines.next().await.unwrap().as_deref(), Some("{}"));
    assert!(
        matches!(lines.next().await, Err(Error::Unreachable { .. })),
        "a file that was cut off is not taken for whole"
    );
}

#[tokio::test]
async fn a_server_that_is_not_ready_has_answered() {
    let server =
        Server::new(|_, _| answer("503 Service Unavailable", "application/json", "{\"status\":\"down\"}")).await;
    let ready = server.client().ready().await.unwrap();
    assert_eq!((ready.is_ready, ready.says.text()), (false, "{\"status\":\"down\"}"));
    assert!(server.asked()[0].starts_with("GET /readyz HTTP/1.1") && server.asked().len() == 1);
}

#[tokio::test]
async fn what_does_not_speak_tls_is_told_from_what_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let patience = Patience { attempts: 1, ..Patience::default() };
    let client = Client::with_patience(&address, &Key::new(SECRET), patience).unwrap();
    let plain = client.get(&["me"], &[]).await.unwrap_err();
    assert!(plain.tls() == Some(Tls::Protocol) && !plain.is_transient(), "{plain:?}");
    let closed = client.get(&["me"], &[]).await.unwrap_err();
    assert!(closed.tls().is_none() && closed.is_transient(), "{closed:?}");
}

#[test]
fn a_key_goes_nowhere_in_the_clear() {
    let key = Key::new(SECRET);
    let new = |address: &str| Client::new(address, &key);
    for address in ["https://example.org/insula/", "http://127.0.0.1:7400", "http://localhost:1", "http://[::1]:1"] {
        assert!(new(address).is_ok(), "{address}");
    }
    for address in
        ["http://example.org", "http://192.168.1.2:80", "http://127.0.0.1.example.org", "http://localhost.example"]
    {
        assert!(matches!(new(address), Err(Error::InTheClear { .. })), "{address}");
    }
    for address in ["example.org", "ftp://example.org", "https://a:b@example.org", "https://example.org/?a=b", ""] {
        let refused = new(address).unwrap_err();
        assert!(matches!(&refused, Error::Address { address, .. } if !address.contains("a:b")), "{refused}");
    }
}

#[test]
fn a_key_shows_itself_to_nobody() {
    let client = Client::new("https://example.org", &Key::new(format!(" {SECRET}\n"))).unwrap();
    let shown =
        format!("{client:?} {:?} {:?}", Key::new(SECRET), Client::new("https://example.org", &Key::new("a\nb")));
    assert!(!shown.contains("secret") && !shown.contains("a\\nb"), "{shown}");
}
