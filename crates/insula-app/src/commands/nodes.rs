//! `insula nodes`.

use serde::Deserialize;

use super::{
    Desk,
    overview::{self, Node},
};
use crate::exit::Stop;

#[derive(Deserialize)]
struct Nodes {
    items: Vec<Node>,
}

/// The processes that work on the queue, with how many runs each holds and until when.
pub(super) async fn nodes(desk: &Desk<'_>) -> Result<(), Stop> {
    let said = desk.island()?.nodes().await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    overview::nodes(desk, &said.read::<Nodes>()?.items)
}
