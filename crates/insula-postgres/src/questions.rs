//! Questions that are not closed, as they are read.

use std::sync::Arc;

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Answer, AnswerRequest, Error, Inbox, NewQuestion, OpenQuestion, Page, PageRequest, WaitFor, pages};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    rows,
    store::Store,
    transaction::Tx,
};

/// Which questions, and which part of them.
#[derive(Debug)]
struct Wanted {
    scope: UserScope,
    run: Option<RunId>,
    before: i64,
    most: usize,
    now: Timestamp,
}

#[async_trait]
impl Inbox for Store {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let (run, now) = (run.cloned(), self.shared.clock.now());
        let wanted = Wanted { scope: scope.clone(), run, before, most: limit + 1, now };
        let found = self.read("list questions", scope, wanted, |tx, wanted| Box::pin(open(tx, wanted))).await?;
        Ok(pages::cut(found.unwrap_or_default(), limit))
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        self.answer_one(scope, run, answer).await
    }
}

macro_rules! open {
    ($condition:literal) => {
        concat!(
            "SELECT r.run_id, t.thread_id, r.parent_run_id, r.agent, q.place, q.kind, q.question, q.asked_at,
                q.expires_at, q.question_no
            FROM insula.questions q JOIN insula.runs r ON r.owner_no = q.owner_no AND r.run_no = q.run_no
            JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
            WHERE q.owner_no = $1 AND q.answer IS NULL AND (q.expires_at IS NULL OR q.expires_at > $2)
            AND q.question_no < $3 ",
            $condition,
            " ORDER BY q.question_no DESC LIMIT $4"
        )
    };
}

/// Open questions with a number below `before`, youngest first.
async fn open(tx: &mut Tx, wanted: &Wanted) -> Worked<Vec<(i64, OpenQuestion)>> {
    const OF_OWNER: &str = open!("");
    // By number: a run has few questions, and its owner may have many.
    const OF_RUN: &str =
        open!("AND q.run_no = (SELECT w.run_no FROM insula.runs w WHERE w.owner_no = $1 AND w.run_id = $5)");
    let query = sqlx::query(wanted.run.as_ref().map_or(OF_OWNER, |_| OF_RUN))
        .bind(tx.owner)
        .bind(wanted.now.as_micros())
        .bind(wanted.before)
        .bind(i64::try_from(wanted.most).unwrap_or(i64::MAX));
    let query = match &wanted.run {
        Some(run) => query.bind(run.as_str()),
        None => query,
    };
    let rows = query.fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok((row.try_get(9)?, question(row, &wanted.scope, &tx.server)?))).collect()
}

fn question(row: &PgRow, scope: &UserScope, server: &Server) -> Worked<OpenQuestion> {
    let damaged = || server.corrupt(format!("a question of {scope}"), "it is damaged");
    let header = rows::header(row, scope, server)?;
    let question = NewQuestion {
        index: u32::try_from(row.try_get::<i64, _>(4)?).map_err(|_| damaged())?,
        kind: WaitFor::parse(&row.try_get::<String, _>(5)?).ok_or_else(damaged)?,
        question: rows::json(row.try_get(6)?).ok_or_else(damaged)?,
        asked_at: Timestamp::from_micros(row.try_get(7)?),
        expires_at: row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_micros),
    };
    Ok(OpenQuestion { header: Arc::new(header), question })
}

/// Answers to questions of this run that are not closed yet, in the order of the calls.
pub(crate) async fn answers(tx: &mut Tx, owner: i64, run: i64) -> Worked<Vec<Answer>> {
    const ANSWERS: &str = "SELECT place, answer, answered_by FROM insula.questions
        WHERE owner_no = $1 AND run_no = $2 AND answer IS NOT NULL ORDER BY place";
    let found = sqlx::query(ANSWERS).bind(owner).bind(run).fetch_all(tx.on()).await?;
    let mut answers = Vec::new();
    for row in &found {
        let damaged = || tx.server.corrupt("an answer", "it is damaged");
        let index = u32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| damaged())?;
        let answer = rows::json(row.try_get(1)?).ok_or_else(damaged)?;
        answers.push(Answer { index, answer, by: Arc::from(row.try_get::<String, _>(2)?) });
    }
    Ok(answers)
}
