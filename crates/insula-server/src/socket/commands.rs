//! What a client may ask for over a socket, and what it is answered.

use insula_context::ThreadId;
use serde_json::Value;

use super::session::{Closed, Session};
use crate::{
    auth::Access,
    http::caller::within_rate,
    problem::{Kind, Problem},
    routes::{self, Submission},
    wire::{Ack, AnswerRun, CancelRun, Command, CommandKind, Frame, Run, Start, Subscribe, Unreadable, Unsubscribe},
};

type Done = Result<Ack, Problem>;

impl Session {
    /// Does what a frame asks for, and answers it.
    pub(super) async fn obey(&self, frame: &str) -> Result<(), Closed> {
        let (id, kind) = match Command::parse(frame) {
            Ok(Command { id, kind }) => (id, kind),
            Err(Unreadable { id, problem }) => {
                return self.refuse(id, Problem::new(Kind::InvalidRequest, problem)).await;
            }
        };
        if let Err(problem) = within_rate(&self.server, &self.principal) {
            return self.refuse(id, problem).await;
        }
        match kind {
            CommandKind::Ping => self.say(&Frame::Pong { id }).await,
            CommandKind::Subscribe(wish) => self.subscribe(id, wish).await,
            CommandKind::Start(start) => self.start(id, *start).await,
            CommandKind::Unsubscribe(wish) => self.answer(id, self.unsubscribe(wish).await).await,
            CommandKind::Cancel(wish) => self.answer(id, self.cancel(wish).await).await,
            CommandKind::Answer(given) => self.answer(id, self.give(given).await).await,
        }
    }

    async fn answer(&self, id: Option<Value>, done: Done) -> Result<(), Closed> {
        match done {
            Ok(ack) => self.say(&Frame::Ack(Ack { id, ..ack })).await,
            Err(problem) => self.refuse(id, problem).await,
        }
    }

    async fn refuse(&self, id: Option<Value>, problem: Problem) -> Result<(), Closed> {
        self.say(&Frame::Error { id, problem: Box::new(problem.body(Some(self.origin.request.to_string()))) }).await
    }

    fn may_write(&self) -> Result<(), Problem> {
        match self.principal.access {
            Access::Write => Ok(()),
            Access::Read => Err(Problem::new(Kind::Forbidden, "the credential may only read")),
        }
    }

    /// The answer goes first: no event of the thread comes before it.
    async fn subscribe(&self, id: Option<Value>, wish: Subscribe) -> Result<(), Closed> {
        let Subscribe { thread_id, after } = wish;
        match ThreadId::new(&thread_id) {
            Ok(thread) => {
                let ack = Ack { id, thread_id: Some(thread_id), after: Some(after), ..Ack::default() };
                self.say(&Frame::Ack(ack)).await?;
                self.connection.subscribe(thread, after).await.map_err(|_| Closed)
            }
            Err(error) => self.refuse(id, error.into()).await,
        }
    }

    async fn unsubscribe(&self, wish: Unsubscribe) -> Done {
        let thread = ThreadId::new(&wish.thread_id)?;
        // A connection that is gone delivers nothing more, as was wanted.
        let _gone = self.connection.unsubscribe(thread).await;
        Ok(Ack { thread_id: Some(wish.thread_id), ..Ack::default() })
    }

    async fn start(&self, id: Option<Value>, start: Start) -> Result<(), Closed> {
        let subscribe = start.subscribe;
        let (run, after) = match self.submit(start).await {
            Ok(submitted) => submitted,
            Err(problem) => return self.refuse(id, problem).await,
        };
        let thread = ThreadId::new(&run.thread_id).map_err(|_| Closed)?;
        let after_said = subscribe.then_some(after);
        let ack = Ack { id, run: Some(Box::new(run)), after: after_said, ..Ack::default() };
        self.say(&Frame::Ack(ack)).await?;
        if subscribe {
            self.connection.subscribe(thread, after).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Submits a run, and says where its thread stood before.
    async fn submit(&self, start: Start) -> Result<(Run, u64), Problem> {
        self.may_write()?;
        let scope = &self.principal.scope;
        let after = match &start.run.thread_id {
            Some(thread) => {
                let runs = &self.server.engine.backend().runs;
                runs.thread(scope, &ThreadId::new(thread)?).await?.map_or(0, |thread| thread.head)
            }
            None => 0,
        };
        let submission = Submission { origin: &self.origin, scope, run: start.run, key: start.idempotency_key };
        let record = routes::submit(&self.server, submission).await?;
        Ok((record.into(), after))
    }

    async fn cancel(&self, wish: CancelRun) -> Done {
        self.may_write()?;
        let (run, cancel) = routes::cancel(&self.server, &self.principal.scope, &wish.run_id, wish.reason).await?;
        Ok(Ack { run_id: Some(run.to_string()), cancel: Some(cancel), ..Ack::default() })
    }

    async fn give(&self, given: AnswerRun) -> Done {
        self.may_write()?;
        let AnswerRun { run_id, answer, question } = given;
        let scope = &self.principal.scope;
        let (run, answer) = routes::answer(&self.server, scope, &run_id, (answer, question)).await?;
        Ok(Ack { run_id: Some(run.to_string()), answer: Some(answer), ..Ack::default() })
    }
}
