//! Locking and reading what a group needs: two statements, and a third where questions are concerned.

use std::sync::Arc;

use insula_context::CancelReason;
use insula_infra::{RunStatus, WaitFor};
use sqlx::{Row, postgres::PgRow};

use super::{
    Desk, Run, Wants,
    desk::{Line, Question, Thread, Wish},
    wants::Hold,
};
use crate::{
    error::{Server, Worked},
    rows::Place,
    transaction::Tx,
};

const HELD: i32 = 0;
const LINE: i32 = 1;
const THREAD: i32 = 2;
const WISH: i32 = 3;
const RESERVED: i32 = 4;
const RUN_NUMBER: i32 = 5;

/// Lines, then threads; and beside them what is looked up without a lock. Numbers come last: runs of a thread have theirs in
/// the order in which the thread was locked.
const LOCK: &str = "WITH beside AS MATERIALIZED (
        SELECT owner_no FROM insula.lines WHERE owner_no = ANY ($1) ORDER BY owner_no FOR KEY SHARE),
    submit AS MATERIALIZED (
        SELECT owner_no, weight, submitted FROM insula.lines WHERE owner_no = ANY ($10) ORDER BY owner_no
        FOR NO KEY UPDATE),
    stop AS MATERIALIZED (
        SELECT owner_no, weight, submitted FROM insula.lines WHERE owner_no = ANY ($11) ORDER BY owner_no FOR UPDATE),
    l AS (SELECT * FROM submit UNION ALL SELECT * FROM stop),
    t AS MATERIALIZED (
        SELECT t.owner_no, t.thread_no, t.head, t.thread_id
        FROM unnest($2::bigint[], $3::text[]) AS w(owner_no, thread_id)
        JOIN insula.threads t ON t.owner_no = w.owner_no AND t.thread_id = w.thread_id
        ORDER BY t.owner_no, t.thread_no FOR UPDATE OF t)
    SELECT 0, owner_no, 0::bigint, 0::bigint, 0::bigint, NULL::text, NULL::text, NULL::text FROM beside
    UNION ALL SELECT 1, l.owner_no, l.weight::bigint, l.submitted, coalesce(s.claimed, 0), NULL, NULL, NULL
        FROM l LEFT JOIN insula.served s ON s.owner_no = l.owner_no
    UNION ALL SELECT 2, owner_no, thread_no, head, 0, thread_id, NULL, NULL FROM t
    UNION ALL SELECT 3, a.owner_no, a.asked_at, 0, 0, a.run_id, a.by, a.why
        FROM unnest($4::bigint[], $5::text[]) AS w(owner_no, run_id)
        JOIN insula.ahead a ON a.owner_no = w.owner_no AND a.run_id = w.run_id
    UNION ALL SELECT 4, r.owner_no, 0, 0, 0, r.run_id, NULL, NULL
        FROM unnest($6::bigint[], $7::text[]) AS w(owner_no, run_id)
        JOIN insula.reservations r ON r.owner_no = w.owner_no AND r.run_id = w.run_id
    UNION ALL SELECT 5, 0, nextval('insula.run_numbers'), 0, 0, NULL, NULL, NULL FROM generate_series(1, $8)
    UNION ALL SELECT 6, 0, nextval('insula.thread_numbers'), 0, 0, NULL, NULL, NULL FROM generate_series(1, $9)";

/// Which runs, then their rows under lock. The list is made once: a row that somebody changes meanwhile is read as it is
/// then, and whoever uses it looks at its place again.
const RUNS: &str = "WITH wanted AS MATERIALIZED (
        SELECT r.owner_no, r.run_no FROM unnest($1::bigint[], $2::text[]) AS w(owner_no, run_id)
            JOIN insula.runs r ON r.owner_no = w.owner_no AND r.run_id = w.run_id
        UNION SELECT r.owner_no, r.run_no FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS w(owner_no, thread_no, n)
            CROSS JOIN LATERAL (SELECT i.owner_no, i.run_no FROM insula.runs i
                WHERE i.thread_no = w.thread_no AND i.owner_no = w.owner_no AND i.in_turn AND i.place IS NOT NULL
                ORDER BY i.run_no LIMIT w.n) r
        UNION SELECT r.owner_no, r.run_no FROM unnest($6::bigint[], $7::text[]) AS w(owner_no, run_id)
            JOIN insula.runs r ON r.owner_no = w.owner_no AND r.parent_run_id = w.run_id
                AND r.place IS NOT NULL AND r.parent_run_id IS NOT NULL
        UNION SELECT r.owner_no, r.run_no FROM unnest($8::bigint[], $9::text[]) AS w(owner_no, key)
            JOIN insula.runs r ON r.owner_no = w.owner_no AND r.idempotency = w.key AND r.idempotency IS NOT NULL
        UNION SELECT r.owner_no, r.run_no FROM insula.runs r WHERE r.owner_no = ANY ($10) AND r.place IS NOT NULL)
    SELECT r.owner_no, r.run_no, r.run_id, r.thread_no, r.parent_run_id, r.agent, r.status, r.place, r.due_at, r.token,
        r.worker, r.lease_until, r.in_turn, r.asked, r.answered, r.events, r.first_seq, r.last_seq, r.last_at,
        r.started_at, r.waits_for, r.rolled_back, r.has_call, r.cancel_by, r.cancel_why, r.idempotency
    FROM wanted w JOIN insula.runs r ON r.owner_no = w.owner_no AND r.run_no = w.run_no
    ORDER BY r.owner_no, r.run_no FOR UPDATE OF r";

const QUESTIONS: &str = "SELECT q.run_no, q.place, q.answer IS NOT NULL, q.expires_at
    FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, run_no)
    JOIN insula.questions q ON q.owner_no = w.owner_no AND q.run_no = w.run_no";

/// Two columns out of pairs.
fn columns<'a, B: Copy>(pairs: impl Iterator<Item = (i64, B)> + 'a) -> (Vec<i64>, Vec<B>) {
    pairs.unzip()
}

fn named<'a>(pairs: impl IntoIterator<Item = &'a (i64, String)>) -> (Vec<i64>, Vec<&'a str>) {
    columns(pairs.into_iter().map(|(owner, name)| (*owner, name.as_str())))
}

/// Locks and reads.
pub(crate) async fn load(tx: &mut Tx, wants: Wants) -> Worked<Desk> {
    let mut desk = Desk::new(tx.server.clone());
    lock(tx, &wants, &mut desk).await?;
    read_runs(tx, &wants, &mut desk).await?;
    if !wants.questions.is_empty() {
        read_questions(tx, &wants, &mut desk).await?;
    }
    desk.numbers = wants.into_numbers();
    Ok(desk)
}

async fn lock(tx: &mut Tx, wants: &Wants, desk: &mut Desk) -> Worked<()> {
    let (thread_owners, threads) = named(&wants.threads);
    let (wish_owners, wishes) = named(&wants.wishes);
    let (reserved_owners, reserved) = named(&wants.reserved);
    let rows = sqlx::query(LOCK)
        .bind(wants.held(Hold::Beside))
        .bind(thread_owners)
        .bind(threads)
        .bind(wish_owners)
        .bind(wishes)
        .bind(reserved_owners)
        .bind(reserved)
        .bind(wants.new_runs)
        .bind(wants.new_threads)
        .bind(wants.held(Hold::Submit))
        .bind(wants.held(Hold::Stop))
        .fetch_all(tx.on())
        .await?;
    for row in &rows {
        lay_down(row, desk)?;
    }
    Ok(())
}

fn lay_down(row: &PgRow, desk: &mut Desk) -> sqlx::Result<()> {
    let (kind, owner, number): (i32, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    match kind {
        HELD => {}
        LINE => {
            let line = Line { weight: number, submitted: row.try_get(3)?, claimed: row.try_get(4)?, changed: false };
            desk.lines.insert(owner, line);
        }
        THREAD => {
            let (id, head): (String, i64) = (row.try_get(5)?, row.try_get(3)?);
            let thread = Thread { owner, number, id: id.clone(), head, is_new: None, changed: false };
            desk.threads.insert((owner, id), thread);
        }
        WISH => {
            let reason = CancelReason { by: row.try_get(6)?, why: row.try_get(7)? };
            desk.wishes.insert((owner, row.try_get(5)?), Wish { reason, asked_at: number });
        }
        RESERVED => drop(desk.reserved.insert((owner, row.try_get(5)?))),
        RUN_NUMBER => desk.run_numbers.push_back(number),
        _ => desk.thread_numbers.push_back(number),
    }
    Ok(())
}

async fn read_runs(tx: &mut Tx, wants: &Wants, desk: &mut Desk) -> Worked<()> {
    let (run_owners, runs) = named(&wants.runs);
    let (child_owners, parents) = named(&wants.children);
    let (key_owners, keys) = named(&wants.keys);
    let open_of: Vec<i64> = wants.open_of.iter().copied().collect();
    let (mut turn_owners, mut turn_threads, mut turn_counts) = (Vec::new(), Vec::new(), Vec::new());
    for (thread, most) in &wants.in_turn {
        if let Some(thread) = desk.threads.get(thread) {
            turn_owners.push(thread.owner);
            turn_threads.push(thread.number);
            turn_counts.push(*most);
        }
    }
    let rows = sqlx::query(RUNS)
        .bind(run_owners)
        .bind(runs)
        .bind(turn_owners)
        .bind(turn_threads)
        .bind(turn_counts)
        .bind(child_owners)
        .bind(parents)
        .bind(key_owners)
        .bind(keys)
        .bind(open_of)
        .fetch_all(tx.on())
        .await?;
    for row in &rows {
        let run = run(row, &desk.server)?;
        if let Some(key) = row.try_get::<Option<String>, _>(25)? {
            desk.by_key.insert((run.owner, key), run.number);
        }
        desk.add_run(run);
    }
    Ok(())
}

fn run(row: &PgRow, server: &Server) -> Worked<Run> {
    let id: String = row.try_get(2)?;
    let damaged = |what: &str| server.corrupt(format!("run {id}"), format!("its {what} is damaged"));
    let status: String = row.try_get(6)?;
    let place: Option<i16> = row.try_get(7)?;
    let waits_for: Option<String> = row.try_get(20)?;
    let (by, why): (Option<String>, Option<String>) = (row.try_get(23)?, row.try_get(24)?);
    Ok(Run {
        owner: row.try_get(0)?,
        number: row.try_get(1)?,
        thread: row.try_get(3)?,
        parent: row.try_get(4)?,
        agent: Arc::from(row.try_get::<String, _>(5)?),
        status: RunStatus::parse(&status).ok_or_else(|| damaged("status"))?,
        place: place.map(|place| Place::parse(place).ok_or_else(|| damaged("place"))).transpose()?,
        due_at: row.try_get(8)?,
        token: row.try_get(9)?,
        worker: row.try_get(10)?,
        lease_until: row.try_get(11)?,
        in_turn: row.try_get(12)?,
        asked: row.try_get(13)?,
        answered: row.try_get(14)?,
        events: row.try_get(15)?,
        first_seq: row.try_get(16)?,
        last_seq: row.try_get(17)?,
        last_at: row.try_get(18)?,
        started_at: row.try_get(19)?,
        ended_at: None,
        waits_for: waits_for.and_then(|word| WaitFor::parse(&word)),
        rolled_back: row.try_get(21)?,
        has_call: row.try_get(22)?,
        cancel: by.zip(why).map(|(by, why)| CancelReason { by, why }),
        failure: None,
        result: None,
        fresh: None,
        changed: false,
        id,
    })
}

async fn read_questions(tx: &mut Tx, wants: &Wants, desk: &mut Desk) -> Worked<()> {
    let found = wants.questions.iter().filter_map(|(owner, run)| Some((*owner, desk.run_number(*owner, run)?)));
    let (owners, runs): (Vec<i64>, Vec<i64>) = found.unzip();
    let rows = sqlx::query(QUESTIONS).bind(owners).bind(runs).fetch_all(tx.on()).await?;
    for row in &rows {
        let question = Question { is_answered: row.try_get(2)?, expires_at: row.try_get(3)? };
        desk.questions.insert((row.try_get(0)?, row.try_get(1)?), question);
    }
    Ok(())
}
