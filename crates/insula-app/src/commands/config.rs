//! `insula config`.

use serde_json::json;

use super::Desk;
use crate::{exit::Stop, table::Columns};

/// Shows every setting, and where its value came from.
pub(super) fn config(desk: &Desk<'_>) -> Result<(), Stop> {
    let origins = &desk.settings.origins;
    if desk.output.json {
        return desk.output.json(&json!({"settings": origins}));
    }
    let mut columns = Columns::new(desk.output, &["key", "value", "from"]);
    for setting in origins {
        columns.row([setting.key.to_owned(), setting.value.clone(), setting.origin.clone()]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}
