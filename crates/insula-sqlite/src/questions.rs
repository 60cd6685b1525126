//! Questions that are not closed, and the answers to them. A run's row counts both, so that a run without any costs no
//! statement here.

use std::sync::Arc;

use async_trait::async_trait;
use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Answer, AnswerRequest, Error, Inbox, NewQuestion, OpenQuestion, Page, PageRequest, RunHeader, WaitFor, pages,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    error::{File, Stop},
    rows,
    store::Store,
    transaction::Tx,
};

/// How many questions of a run are not closed, and how many of them have an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) asked: i64,
    pub(crate) answered: i64,
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
        let (scope, run, file, now) = (scope.clone(), run.cloned(), self.file.clone(), self.clock.now());
        self.readers
            .read(move |connection| {
                let found = open(connection, &scope, run.as_ref(), (before, limit + 1), now, &file)?;
                Ok(pages::cut(found, limit))
            })
            .await
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let (scope, run, now) = (scope.clone(), run.clone(), self.clock.now());
        self.writer.call(move |tx| record(tx, &scope, &run, &answer, now)).await
    }
}

/// Closes and asks, and says how many there are then.
pub(crate) fn change(
    tx: &Tx<'_>,
    (owner, run): (i64, i64),
    before: Counts,
    asks: &[NewQuestion],
    closes: &[u32],
) -> rusqlite::Result<Counts> {
    const CLOSE: &str = "DELETE FROM questions WHERE run_no = ?1 AND place = ?2 RETURNING answer IS NOT NULL";
    const ASK: &str = "INSERT INTO questions (owner_no, run_no, place, kind, asked_at, expires_at, question)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    const COUNT: &str = "UPDATE runs SET asked = ?2, answered = ?3 WHERE run_no = ?1";
    let mut counts = before;
    for place in closes {
        let closed =
            tx.connection.prepare_cached(CLOSE)?.query_row(params![run, place], |row| row.get(0)).optional()?;
        counts.asked -= i64::from(closed.is_some());
        counts.answered -= i64::from(closed == Some(true));
    }
    for ask in asks {
        let (kind, expires_at) = (ask.kind.as_str(), ask.expires_at.map(Timestamp::as_micros));
        let row = params![owner, run, ask.index, kind, ask.asked_at.as_micros(), expires_at, ask.question.get()];
        counts.asked += i64::from(tx.connection.prepare_cached(ASK)?.execute(row)? > 0);
    }
    tx.connection.prepare_cached(COUNT)?.execute(params![run, counts.asked, counts.answered])?;
    Ok(counts)
}

/// The run has ended, or is deleted.
pub(crate) fn close_all(tx: &Tx<'_>, run: i64) -> rusqlite::Result<()> {
    const CLOSE: &str = "DELETE FROM questions WHERE run_no = ?1";
    const COUNT: &str = "UPDATE runs SET asked = 0, answered = 0 WHERE run_no = ?1";
    tx.connection.prepare_cached(CLOSE)?.execute([run])?;
    tx.connection.prepare_cached(COUNT)?.execute([run]).map(|_| ())
}

/// Answers to questions of this run that are not closed yet, in the order of the calls.
pub(crate) fn answers(connection: &Connection, run: i64, file: &File) -> Result<Vec<Answer>, Stop> {
    const ANSWERS: &str = "SELECT place, answer, answered_by FROM questions
        WHERE run_no = ?1 AND answer IS NOT NULL ORDER BY place";
    let mut select = connection.prepare_cached(ANSWERS)?;
    let mut found = select.query([run])?;
    let mut answers = Vec::new();
    while let Some(row) = found.next()? {
        let answer = rows::json(row.get(1)?).ok_or_else(|| file.corrupt("an answer", "it is not JSON"))?;
        answers.push(Answer { index: row.get(0)?, answer, by: row.get(2)? });
    }
    Ok(answers)
}

fn record(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    run: &RunId,
    answer: &Answer,
    now: Timestamp,
) -> Result<Option<AnswerRequest>, Stop> {
    const FIND: &str = "SELECT r.run_no, q.question_no, q.answer IS NOT NULL, coalesce(q.expires_at <= ?4, 0)
        FROM runs r JOIN threads t ON t.thread_no = r.thread_no JOIN questions q ON q.run_no = r.run_no
        WHERE r.owner_no = ?1 AND r.run_id = ?2 AND q.place = ?3 AND r.place IS NOT NULL";
    const RECORD: &str = "UPDATE questions SET answer = ?2, answered_by = ?3 WHERE question_no = ?1";
    const COUNT: &str = "UPDATE runs SET answered = answered + 1, due_at = iif(place = 2, ?2, due_at),
        place = iif(place = 2, 1, place) WHERE run_no = ?1";
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    let key = params![owner.number, run.as_str(), answer.index, now.as_micros()];
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let found: Option<(i64, i64, bool, bool)> = tx.connection.prepare_cached(FIND)?.query_row(key, read).optional()?;
    let Some((run, question, is_answered, is_over)) = found else { return Ok(None) };
    if is_answered {
        return Ok(Some(AnswerRequest::Answered));
    }
    if is_over {
        return Ok(Some(AnswerRequest::Expired));
    }
    tx.connection.prepare_cached(RECORD)?.execute(params![question, answer.answer.get(), &*answer.by])?;
    tx.connection.prepare_cached(COUNT)?.execute(params![run, now.as_micros()])?;
    Ok(Some(AnswerRequest::Recorded))
}

const COLUMNS: &str = "SELECT q.question_no, q.place, q.kind, q.question, q.asked_at, q.expires_at, r.run_id,
        r.parent_run_id, r.agent, t.thread_id";

/// Open questions with a number below `before`, youngest first.
fn open(
    connection: &Connection,
    scope: &UserScope,
    run: Option<&RunId>,
    (before, most): (i64, usize),
    now: Timestamp,
    file: &File,
) -> Result<Vec<(i64, OpenQuestion)>, Stop> {
    const OF_OWNER: &str = "FROM questions q INDEXED BY questions_open CROSS JOIN runs r ON r.run_no = q.run_no
        CROSS JOIN threads t ON t.thread_no = r.thread_no
        WHERE q.answer IS NULL AND (q.expires_at IS NULL OR q.expires_at > ?2) AND q.question_no < ?1
        AND q.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?3 AND user_id = ?4)
        ORDER BY q.question_no DESC LIMIT ?5";
    const OF_RUN: &str = "FROM runs r CROSS JOIN questions q ON q.run_no = r.run_no
        CROSS JOIN threads t ON t.thread_no = r.thread_no
        WHERE q.answer IS NULL AND (q.expires_at IS NULL OR q.expires_at > ?2) AND q.question_no < ?1
        AND r.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?3 AND user_id = ?4) AND r.run_id = ?6
        ORDER BY q.question_no DESC LIMIT ?5";
    let (tenant, user, now) = (scope.tenant().as_str(), scope.user().as_str(), now.as_micros());
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(&format!("{COLUMNS} {}", run.map_or(OF_OWNER, |_| OF_RUN)))?;
    let mut rows = match run {
        None => select.query(params![before, now, tenant, user, most])?,
        Some(run) => select.query(params![before, now, tenant, user, most, run.as_str()])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, question(row, scope, file)?));
    }
    Ok(found)
}

fn question(row: &Row<'_>, scope: &UserScope, file: &File) -> Result<OpenQuestion, Stop> {
    let damaged = || file.corrupt(format!("a question of {scope}"), "it is damaged");
    let parent = row.get::<_, Option<String>>(7)?.map(RunId::new).transpose().map_err(|_| damaged())?;
    let header = RunHeader {
        scope: scope.clone(),
        thread: ThreadId::new(row.get::<_, String>(9)?).map_err(|_| damaged())?,
        run: RunId::new(row.get::<_, String>(6)?).map_err(|_| damaged())?,
        parent,
        agent: row.get(8)?,
    };
    let question = NewQuestion {
        index: row.get(1)?,
        kind: WaitFor::parse(&row.get::<_, String>(2)?).ok_or_else(damaged)?,
        question: rows::json(row.get(3)?).ok_or_else(damaged)?,
        asked_at: Timestamp::from_micros(row.get(4)?),
        expires_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
    };
    Ok(OpenQuestion { header: Arc::new(header), question })
}
