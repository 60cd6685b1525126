//! Questions as a group writes them: asked, answered and closed.

use insula_context::Timestamp;
use insula_infra::{Answer, NewQuestion};

use crate::{
    error::{Worked, text},
    transaction::Tx,
};

/// New questions of runs: owner, run, question. One that is asked already stays as it is.
pub(crate) async fn ask(tx: &mut Tx, asked: &[(i64, i64, NewQuestion)]) -> Worked<()> {
    const ASK: &str = "INSERT INTO insula.questions (owner_no, run_no, place, kind, asked_at, expires_at, question)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
        ON CONFLICT DO NOTHING";
    let column = |value: fn(&NewQuestion) -> i64| asked.iter().map(|(.., ask)| value(ask)).collect::<Vec<i64>>();
    sqlx::query(ASK)
        .bind(asked.iter().map(|(owner, ..)| *owner).collect::<Vec<i64>>())
        .bind(asked.iter().map(|(_, run, _)| *run).collect::<Vec<i64>>())
        .bind(column(|ask| i64::from(ask.index)))
        .bind(asked.iter().map(|(.., ask)| ask.kind.as_str()).collect::<Vec<&str>>())
        .bind(column(|ask| ask.asked_at.as_micros()))
        .bind(asked.iter().map(|(.., ask)| ask.expires_at.map(Timestamp::as_micros)).collect::<Vec<Option<i64>>>())
        .bind(asked.iter().map(|(.., ask)| ask.question.get()).collect::<Vec<&str>>())
        .execute(tx.on())
        .await?;
    Ok(())
}

/// Answers: owner, run, answer.
pub(crate) async fn answer(tx: &mut Tx, answered: &[(i64, i64, Answer)]) -> Worked<()> {
    const ANSWER: &str = "UPDATE insula.questions q SET answer = w.answer, answered_by = w.by
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
            AS w(owner_no, run_no, place, answer, by)
        WHERE q.owner_no = w.owner_no AND q.run_no = w.run_no AND q.place = w.place AND q.answer IS NULL";
    sqlx::query(ANSWER)
        .bind(answered.iter().map(|(owner, ..)| *owner).collect::<Vec<i64>>())
        .bind(answered.iter().map(|(_, run, _)| *run).collect::<Vec<i64>>())
        .bind(answered.iter().map(|(.., answer)| i64::from(answer.index)).collect::<Vec<i64>>())
        .bind(answered.iter().map(|(.., answer)| answer.answer.get()).collect::<Vec<&str>>())
        .bind(answered.iter().map(|(.., answer)| text(&answer.by).into_owned()).collect::<Vec<String>>())
        .execute(tx.on())
        .await?;
    Ok(())
}

/// Closes questions: owner, run, place.
pub(crate) async fn close(tx: &mut Tx, closed: &[(i64, i64, i64)]) -> Worked<()> {
    const CLOSE: &str = "DELETE FROM insula.questions q
        USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w(owner_no, run_no, place)
        WHERE q.owner_no = w.owner_no AND q.run_no = w.run_no AND q.place = w.place";
    sqlx::query(CLOSE)
        .bind(closed.iter().map(|(owner, ..)| *owner).collect::<Vec<i64>>())
        .bind(closed.iter().map(|(_, run, _)| *run).collect::<Vec<i64>>())
        .bind(closed.iter().map(|(.., place)| *place).collect::<Vec<i64>>())
        .execute(tx.on())
        .await?;
    Ok(())
}

/// Closes all questions of runs that have ended: owner, run.
pub(crate) async fn close_all(tx: &mut Tx, runs: &[(i64, i64)]) -> Worked<()> {
    const CLOSE: &str = "DELETE FROM insula.questions q USING unnest($1::bigint[], $2::bigint[]) AS w(owner_no, run_no)
        WHERE q.owner_no = w.owner_no AND q.run_no = w.run_no";
    let (owners, runs): (Vec<i64>, Vec<i64>) = runs.iter().copied().unzip();
    sqlx::query(CLOSE).bind(owners).bind(runs).execute(tx.on()).await?;
    Ok(())
}
