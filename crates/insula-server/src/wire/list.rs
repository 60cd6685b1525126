//! Parts of lists.

use serde::Serialize;
use utoipa::ToSchema;

/// A part of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The cursor to go on with; absent at the end.
    pub next: Option<String>,
}

/// A whole list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Items<T> {
    /// The entries.
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// The page of a store, each entry as it is on the wire.
    pub(crate) fn of<S>(page: insula_infra::Page<S>, shown: impl Fn(S) -> T) -> Self {
        Self { items: page.items.into_iter().map(shown).collect(), next: page.next }
    }
}
