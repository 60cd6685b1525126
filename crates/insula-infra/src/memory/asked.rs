//! The questions of a run, and the answers that it has not taken.

use insula_context::{RunId, Timestamp};

use super::{arrivals::Arrivals, owner::Run};
use crate::{Answer, AnswerRequest, NewQuestion};

/// A question that is not closed.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: NewQuestion,
    pub(super) answer: Option<Answer>,
    /// Its place among the open questions of its owner, until it has an answer.
    number: Option<u64>,
}

impl Asked {
    /// Whether an answer would be taken.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.answer.is_none() && self.question.expires_at.is_none_or(|at| at > now)
    }
}

impl Run {
    /// The question with this index.
    pub(super) fn question(&self, index: u32) -> Option<&Asked> {
        self.questions.iter().find(|asked| asked.question.index == index)
    }

    /// Asks what is not asked yet: a question never changes.
    pub(super) fn ask(&mut self, open: &mut Arrivals<(RunId, u32)>, asks: Vec<NewQuestion>) {
        for question in asks {
            if self.question(question.index).is_none() {
                let number = Some(open.push((self.record.header.run.clone(), question.index)));
                self.questions.push(Asked { question, answer: None, number });
            }
        }
    }

    pub(super) fn close(&mut self, open: &mut Arrivals<(RunId, u32)>, closes: &[u32]) {
        self.questions.retain(|asked| {
            let stays = !closes.contains(&asked.question.index);
            if !stays {
                asked.number.into_iter().for_each(|number| open.remove(number));
            }
            stays
        });
    }

    pub(super) fn close_all(&mut self, open: &mut Arrivals<(RunId, u32)>) {
        let questions = std::mem::take(&mut self.questions);
        questions.iter().filter_map(|asked| asked.number).for_each(|number| open.remove(number));
    }

    /// Takes the first answer that comes in time.
    pub(super) fn take_answer(
        &mut self,
        open: &mut Arrivals<(RunId, u32)>,
        answer: Answer,
        now: Timestamp,
    ) -> Option<AnswerRequest> {
        let asked = self.questions.iter_mut().find(|asked| asked.question.index == answer.index)?;
        if asked.answer.is_some() {
            return Some(AnswerRequest::Answered);
        }
        if !asked.is_open(now) {
            return Some(AnswerRequest::Expired);
        }
        asked.number.take().into_iter().for_each(|number| open.remove(number));
        asked.answer = Some(answer);
        Some(AnswerRequest::Recorded)
    }
}
