//! Ten thousand connections that want nothing: they find a bounded number of places, and whoever wants something is served.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{house::House, raw};
use crate::support::{Backing, Island};

/// How many come at once, and how often.
const CROWD: usize = 500;
const TIMES: usize = 20;
/// Places of an address.
const PLACES: usize = 100;

/// What a connection of the crowd has said when it falls silent.
const BEGUN: [&[u8]; 4] = [b"", b"GET /heal", b"PRI * HT", b"POST /v1/runs HTTP/1.1\r\nHost: x\r\n"];

#[tokio::test]
async fn ten_thousand_connects_are_closed_cleanly_and_whoever_wants_something_is_served_meanwhile() {
    Backing::Memory
        .tell(async |island: Island| {
            let house = House::with(island, |settings| {
                settings.header_time = Duration::from_millis(100);
                settings.connections_per_address = PLACES;
            })
            .await;
            for _ in 0..TIMES {
                let crowd = (0..CROWD).map(async |number| {
                    let mut stream = TcpStream::connect(house.address).await.unwrap();
                    // One that is beyond the places may be closed already.
                    let _refused = stream.write_all(BEGUN[number % BEGUN.len()]).await;
                    raw::until_closed(&mut stream).await
                });
                let said = join_all(crowd).await;
                // Nobody is left hanging, and nobody is told anything but that it took too long.
                let statuses: Vec<_> = said.iter().filter_map(|said| raw::status(said)).collect();
                assert!(statuses.iter().all(|status| [400, 408].contains(status)), "{statuses:?}");
            }
            assert_eq!(house.nobody().get("/healthz").await.is(200), json!({"status": "alive"}));
            let ada = house.user("ada").await;
            ada.ended(json!({"agent": "echo", "input": "salve"})).await;
        })
        .await;
}
