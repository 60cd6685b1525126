//! A user's open questions.

use std::sync::Arc;

use async_trait::async_trait;
use insula_context::{RunId, UserScope};

use super::store::{Shard, Store};
use crate::{Answer, AnswerRequest, Error, Inbox, OpenQuestion, Page, PageRequest};

#[async_trait]
impl Inbox for Store {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        let now = self.clock.now();
        let open = self.read(scope, |owner| {
            let wanted = |(id, index): &(RunId, u32)| {
                let run = owner.runs.get(id).filter(|_| run.is_none_or(|run| run == id))?;
                let asked = run.question(*index).filter(|asked| asked.is_open(now))?;
                let (header, question) = (Arc::clone(&run.record.header), asked.question.clone());
                Some(OpenQuestion { header, question })
            };
            Some(owner.questions.page(page, wanted))
        });
        open.unwrap_or(Ok(Page { items: Vec::new(), next: None }))
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let mut shard = self.shards.lock(scope);
        let Shard { owners, wanted, .. } = &mut *shard;
        let Some(owner) = owners.get_mut(scope) else { return Ok(None) };
        let Some(known) = owner.runs.get_mut(run) else { return Ok(None) };
        let request = known.take_answer(&mut owner.questions, answer, self.clock.now());
        if request == Some(AnswerRequest::Recorded) {
            wanted.insert((scope.clone(), run.clone()));
            self.wake(scope, owner, run);
        }
        Ok(request)
    }
}
