//! Open questions, schedules and accounts.

use async_trait::async_trait;
use insula_context::{RunId, UserScope};
use insula_infra::{
    Answer, AnswerRequest, Balance, Budgets, Error, Holder, Inbox, OpenQuestion, Page, PageRequest, Reservation,
    Reserved, ScheduleRecord, ScheduleStore,
};

use crate::store::Store;

#[async_trait]
impl Inbox for Store {
    async fn questions(
        &self,
        _scope: &UserScope,
        _run: Option<&RunId>,
        _page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        Err(Error::Unavailable { operation: "inbox", component: "not built yet", source: None })
    }

    async fn answer(&self, _scope: &UserScope, _run: &RunId, _answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        Err(Error::Unavailable { operation: "answer", component: "not built yet", source: None })
    }
}

#[async_trait]
impl ScheduleStore for Store {
    async fn put_schedule(&self, _scope: &UserScope, _schedule: ScheduleRecord) -> Result<(), Error> {
        Err(Error::Unavailable { operation: "schedule", component: "not built yet", source: None })
    }

    async fn schedules(&self, _scope: &UserScope) -> Result<Vec<ScheduleRecord>, Error> {
        Err(Error::Unavailable { operation: "schedules", component: "not built yet", source: None })
    }

    async fn delete_schedule(&self, _scope: &UserScope, _name: &str) -> Result<bool, Error> {
        Err(Error::Unavailable { operation: "schedule", component: "not built yet", source: None })
    }
}

#[async_trait]
impl Budgets for Store {
    async fn reserve(&self, _scope: &UserScope, _reservation: Reservation) -> Result<Reserved, Error> {
        Err(Error::Unavailable { operation: "reserve", component: "not built yet", source: None })
    }

    async fn balance(&self, _scope: &UserScope, _holder: Holder) -> Result<Balance, Error> {
        Err(Error::Unavailable { operation: "balance", component: "not built yet", source: None })
    }
}
