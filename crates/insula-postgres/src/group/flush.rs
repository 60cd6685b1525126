//! Writing what a group has changed: one statement for what every run writes, and one each for what is seldom there.

use insula_context::{CancelReason, Timestamp};
use insula_infra::WaitFor;
use sqlx::postgres::PgArguments;
use sqlx::{Postgres, query::Query};

use super::{
    Desk, Run,
    desk::{ChunkRow, Thread},
};
use crate::{
    ahead, asked, budgets,
    error::{Worked, text},
    payloads,
    transaction::Tx,
    usage, webhooks,
};

/// Rows of one table are written once each: a thread is either new or longer, a run is either new or changed.
const WRITE: &str = "WITH
    lines AS (UPDATE insula.lines l SET weight = w.weight, submitted = w.submitted
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w(owner_no, weight, submitted)
        WHERE l.owner_no = w.owner_no),
    new_threads AS (INSERT INTO insula.threads (owner_no, thread_no, thread_id, created_at, head)
        SELECT * FROM unnest($4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[])),
    threads AS (UPDATE insula.threads t SET head = w.head
        FROM unnest($9::bigint[], $10::bigint[], $11::bigint[]) AS w(owner_no, thread_no, head)
        WHERE t.owner_no = w.owner_no AND t.thread_no = w.thread_no),
    runs AS (UPDATE insula.runs r SET status = w.status, place = w.place, due_at = w.due_at, worker = w.worker,
            lease_until = w.lease_until, asked = w.asked, answered = w.answered, events = w.events,
            first_seq = w.first_seq, last_seq = w.last_seq, last_at = w.last_at, started_at = w.started_at,
            ended_at = w.ended_at, waits_for = w.waits_for, rolled_back = w.rolled_back, cancel_by = w.cancel_by,
            cancel_why = w.cancel_why, fail_reason = w.fail_reason, fail_message = w.fail_message, result = w.result
        FROM unnest($12::bigint[], $13::bigint[], $14::text[], $15::smallint[], $16::bigint[], $17::text[], $18::bigint[],
                $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
                $26::bigint[], $27::text[], $28::boolean[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[])
            AS w(owner_no, run_no, status, place, due_at, worker, lease_until, asked, answered, events, first_seq,
                last_seq, last_at, started_at, ended_at, waits_for, rolled_back, cancel_by, cancel_why, fail_reason,
                fail_message, result)
        WHERE r.owner_no = w.owner_no AND r.run_no = w.run_no)
    INSERT INTO insula.log (owner_no, thread_no, first_seq, count, run_no, sum, body)
    SELECT * FROM unnest($34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[], $39::bigint[],
        $40::bytea[])";

const NEW_RUNS: &str = "INSERT INTO insula.runs (owner_no, run_no, status, place, due_at, worker, lease_until, asked,
        answered, events, first_seq, last_seq, last_at, started_at, ended_at, waits_for, rolled_back, cancel_by, cancel_why,
        fail_reason, fail_message, result, run_id, thread_no, priority, in_turn, token, created_at, deadline, has_call,
        parent_run_id, agent, version, idempotency, options, input)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::smallint[], $5::bigint[], $6::text[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
        $15::bigint[], $16::text[], $17::boolean[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[],
        $23::text[], $24::bigint[], $25::smallint[], $26::boolean[], $27::bigint[], $28::bigint[], $29::bigint[],
        $30::boolean[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[], $36::text[])";

type Writing<'q> = Query<'q, Postgres, PgArguments>;

/// Writes everything that has changed.
pub(crate) async fn flush(tx: &mut Tx, desk: &Desk, shard: i16, now: Timestamp) -> Worked<()> {
    write_rows(tx, desk).await?;
    write_new_runs(tx, desk).await?;
    write_questions(tx, desk).await?;
    write_seldom(tx, desk, now).await?;
    let sums: Vec<usage::Sum> = desk
        .sums
        .iter()
        .map(|(owner, agent, row)| usage::Sum { owner: *owner, agent: agent.clone(), row: row.clone() })
        .collect();
    if !sums.is_empty() {
        usage::add(tx, shard, &sums).await?;
    }
    write_money(tx, desk, now).await
}

async fn write_rows(tx: &mut Tx, desk: &Desk) -> Worked<()> {
    let lines: Vec<_> = desk.lines.iter().filter(|(_, line)| line.changed).collect();
    let threads = || desk.threads.values();
    let new: Vec<_> = threads().filter(|thread| thread.is_new.is_some()).collect();
    let longer: Vec<_> = threads().filter(|thread| thread.is_new.is_none() && thread.changed).collect();
    let changed: Vec<_> = desk.runs.values().filter(|run| run.changed && run.fresh.is_none()).collect();
    if lines.is_empty() && new.is_empty() && longer.is_empty() && changed.is_empty() && desk.chunks.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(WRITE)
        .bind(lines.iter().map(|(owner, _)| **owner).collect::<Vec<i64>>())
        .bind(lines.iter().map(|(_, line)| line.weight).collect::<Vec<i64>>())
        .bind(lines.iter().map(|(_, line)| line.submitted).collect::<Vec<i64>>());
    let query = bind_threads(query, &new, &longer);
    let query = bind_runs(query, &changed);
    bind_chunks(query, &desk.chunks).execute(tx.on()).await?;
    Ok(())
}

fn bind_threads<'q>(query: Writing<'q>, new: &[&'q Thread], longer: &[&'q Thread]) -> Writing<'q> {
    query
        .bind(column(new, |thread| thread.owner))
        .bind(column(new, |thread| thread.number))
        .bind(column(new, |thread| thread.id.as_str()))
        .bind(column(new, |thread| thread.is_new.map_or(0, Timestamp::as_micros)))
        .bind(column(new, |thread| thread.head))
        .bind(column(longer, |thread| thread.owner))
        .bind(column(longer, |thread| thread.number))
        .bind(column(longer, |thread| thread.head))
}

fn bind_runs<'q>(query: Writing<'q>, runs: &[&'q Run]) -> Writing<'q> {
    query
        .bind(column(runs, |run| run.owner))
        .bind(column(runs, |run| run.number))
        .bind(column(runs, |run| run.status.as_str()))
        .bind(column(runs, |run| run.place.map(|place| place as i16)))
        .bind(column(runs, |run| run.due_at))
        .bind(column(runs, |run| run.worker.as_deref()))
        .bind(column(runs, |run| run.lease_until))
        .bind(column(runs, |run| run.asked))
        .bind(column(runs, |run| run.answered))
        .bind(column(runs, |run| run.events))
        .bind(column(runs, |run| run.first_seq))
        .bind(column(runs, |run| run.last_seq))
        .bind(column(runs, |run| run.last_at))
        .bind(column(runs, |run| run.started_at))
        .bind(column(runs, |run| run.ended_at))
        .bind(column(runs, |run| run.waits_for.map(WaitFor::as_str)))
        .bind(column(runs, |run| run.rolled_back))
        .bind(column(runs, |run| run.cancel.as_ref().map(|cancel| text(&cancel.by).into_owned())))
        .bind(column(runs, |run| run.cancel.as_ref().map(|cancel| text(&cancel.why).into_owned())))
        .bind(column(runs, |run| run.failure.as_ref().map(|failure| failure.reason.as_str())))
        .bind(column(runs, |run| run.failure.as_ref().map(|failure| text(&failure.message).into_owned())))
        .bind(column(runs, |run| run.result.as_ref().map(|result| result.get())))
}

fn bind_chunks<'q>(query: Writing<'q>, chunks: &'q [ChunkRow]) -> Writing<'q> {
    let chunks: Vec<&ChunkRow> = chunks.iter().collect();
    query
        .bind(column(&chunks, |chunk| chunk.owner))
        .bind(column(&chunks, |chunk| chunk.thread))
        .bind(column(&chunks, |chunk| chunk.first_seq))
        .bind(column(&chunks, |chunk| chunk.count))
        .bind(column(&chunks, |chunk| chunk.run))
        .bind(column(&chunks, |chunk| chunk.sum))
        .bind(column(&chunks, |chunk| chunk.body.as_slice()))
}

fn column<'q, R, T>(rows: &[&'q R], value: impl Fn(&'q R) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row)).collect()
}

async fn write_new_runs(tx: &mut Tx, desk: &Desk) -> Worked<()> {
    let fresh = desk.runs.values().filter_map(|run| Some((run, run.fresh.as_ref()?)));
    let (runs, fresh): (Vec<&Run>, Vec<_>) = fresh.unzip();
    if runs.is_empty() {
        return Ok(());
    }
    bind_runs(sqlx::query(NEW_RUNS), &runs)
        .bind(column(&runs, |run| run.id.as_str()))
        .bind(column(&runs, |run| run.thread))
        .bind(column(&fresh, |fresh| fresh.new.priority))
        .bind(column(&runs, |run| run.in_turn))
        .bind(column(&runs, |run| run.token))
        .bind(column(&fresh, |fresh| fresh.new.created_at.as_micros()))
        .bind(column(&fresh, |fresh| fresh.new.deadline.map(Timestamp::as_micros)))
        .bind(column(&runs, |run| run.has_call))
        .bind(column(&runs, |run| run.parent.as_deref()))
        .bind(column(&runs, |run| &*run.agent))
        .bind(column(&fresh, |fresh| &*fresh.new.version))
        .bind(column(&fresh, |fresh| fresh.key.as_deref()))
        .bind(column(&fresh, |fresh| fresh.new.options.as_ref().map(|options| options.get())))
        .bind(column(&fresh, |fresh| fresh.new.input.get()))
        .execute(tx.on())
        .await?;
    Ok(())
}

async fn write_questions(tx: &mut Tx, desk: &Desk) -> Worked<()> {
    if !desk.closed_all.is_empty() {
        asked::close_all(tx, &desk.closed_all).await?;
    }
    if !desk.closed.is_empty() {
        asked::close(tx, &desk.closed).await?;
    }
    if !desk.asked.is_empty() {
        asked::ask(tx, &desk.asked).await?;
    }
    if !desk.answered.is_empty() {
        asked::answer(tx, &desk.answered).await?;
    }
    Ok(())
}

async fn write_seldom(tx: &mut Tx, desk: &Desk, now: Timestamp) -> Worked<()> {
    if !desk.payloads.is_empty() {
        let kept = desk.payloads.iter();
        let kept: Vec<_> =
            kept.map(|(owner, run, payload)| payloads::Kept { owner: *owner, run: *run, payload }).collect();
        payloads::keep(tx, &kept).await?;
    }
    if !desk.calls.is_empty() {
        let calls = desk.calls.iter();
        let calls: Vec<_> = calls
            .map(|(owner, run, target)| webhooks::Call { owner: *owner, run: *run, target: target.get() })
            .collect();
        webhooks::keep(tx, &calls).await?;
    }
    if !desk.rung.is_empty() {
        webhooks::ring(tx, &desk.rung, now).await?;
    }
    if !desk.fulfilled.is_empty() {
        ahead::fulfil(tx, &desk.fulfilled).await?;
    }
    for (owner, run, reason) in &desk.wished {
        let CancelReason { by, why } = reason;
        ahead::write_down(tx, *owner, run, (&text(by), &text(why)), now).await?;
    }
    Ok(())
}

/// Accounts come last: that is their place in the order of locks.
async fn write_money(tx: &mut Tx, desk: &Desk, now: Timestamp) -> Worked<()> {
    if !desk.spent.is_empty() {
        let spent = desk.spent.iter();
        let spent: Vec<_> =
            spent.map(|(owner, scope, run, spent)| budgets::Spending { owner: *owner, scope, run, spent }).collect();
        budgets::settle(tx, &spent, now).await?;
    }
    if !desk.given_back.is_empty() {
        let ended: Vec<_> = desk.given_back.iter().map(|(owner, scope, run)| (*owner, scope, run)).collect();
        budgets::give_back(tx, &ended).await?;
    }
    Ok(())
}
