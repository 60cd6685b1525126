//! A transaction that is given up in its beginning leaves nothing to the next one.

use std::time::Duration;

use insula_test_services::Postgres;
use sqlx::Executor;

use super::{Kind, Tx};
use crate::connect::Address;

/// How many beginnings are given up.
const GIVEN_UP: u64 = 2_000;

/// sqlx 0.9.0 gives a connection back inside the transaction whose `BEGIN` was dropped. Without the hook that cleans every
/// connection on its way back this finds the scope of another within some rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_beginnings_that_are_given_up_leave_no_scope_to_anybody() {
    const LOOK: &str = "SELECT coalesce(current_setting('insula.owners', true), '')";
    let database = Postgres::fresh("given-up").await;
    let address = Address::parse(&database.url(), false).expect("an address");
    let pool = address.pool(4);
    let mut came_through = 0;
    for round in 0..GIVEN_UP {
        let connection = pool.acquire().await.expect("a connection");
        let beginning = Tx::begin(connection, address.server.clone(), Kind::Write, &[4_711]);
        let patience = Duration::from_micros(round % 400);
        came_through += u64::from(tokio::time::timeout(patience, beginning).await.is_ok());
        let mut next = pool.acquire().await.expect("a connection");
        let owners: String = sqlx::query_scalar(LOOK).fetch_one(&mut *next).await.expect("looks");
        // Refused where no transaction is open.
        let is_alone = next.execute("SAVEPOINT here").await.is_err();
        assert_eq!((owners.as_str(), is_alone), ("", true), "round {round}: a transaction of somebody else is open");
    }
    assert!(came_through < GIVEN_UP, "none was given up");
    pool.close().await;
}
