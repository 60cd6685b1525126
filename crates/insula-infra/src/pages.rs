//! Parts of lists whose entries have numbers: where one begins, and how it says that there is more. For backends.

use crate::{Error, Page, PageRequest};

/// The longest page.
const MOST: usize = 10_000;

/// The number that the page is to stay below, and how many entries it has at most.
///
/// # Errors
/// [`Error::InvalidCursor`] when the cursor is not a number.
pub fn bounds(page: &PageRequest) -> Result<(i64, usize), Error> {
    let limit = page.limit.clamp(1, MOST);
    let Some(cursor) = &page.cursor else { return Ok((i64::MAX, limit)) };
    let number = cursor.parse().ok().filter(|number: &i64| *number > 0);
    let number = number.ok_or_else(|| Error::InvalidCursor { cursor: cursor.clone() })?;
    Ok((number, limit))
}

/// One entry more than the page holds says that there is another page.
pub fn cut<T>(mut found: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(number, _)| number.to_string());
    Page { items: found.into_iter().map(|(_, item)| item).collect(), next }
}
