//! Which part of a list is wanted.

use insula_infra::PageRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::{Kind, Problem};

/// The most entries of a page.
const MOST: usize = 1_000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// 1 to 1,000 entries; 50 otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

impl Part {
    pub(crate) fn request(self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { cursor: self.cursor, limit: limit(self.limit)? })
    }
}

/// A number of entries that is within its bounds.
pub(crate) fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    let limit = wanted.unwrap_or(PageRequest::default().limit);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(Kind::InvalidRequest, format!("limit is 1 to {MOST}")))
}
