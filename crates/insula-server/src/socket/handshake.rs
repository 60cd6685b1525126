//! Who may open a socket. Everything that can be refused is refused before the upgrade, as a problem.

#![expect(unused_qualifications, reason = "the attribute of the description qualifies the types that it repeats")]

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::request::Parts,
    response::Response,
};
use insula_context::ConnectionId;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::{far_end::FarEnd, session::Session};
use crate::{
    auth::{Access, Principal, Role},
    http::{
        caller::{Reader, require, same_origin, unauthenticated, within_rate},
        extract::Query,
        origin::Origin,
    },
    metrics::AuthRefusal,
    problem::{Kind, Problem, ProblemBody},
    service::Service,
};

/// Bytes of the largest frame that is taken.
pub(super) const FRAME_BYTES: usize = 1 << 20;
/// Bytes that are read at once. A socket that says nothing keeps as much.
const READ_BYTES: usize = 4 << 10;
/// Chunks of frames that wait for the client to take them.
const OUTBOX: usize = 2;

/// What browsers send in place of a header.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ticket {
    /// From `POST /v1/tickets`, good once.
    ticket: Option<String>,
}

/// Whoever shows a ticket, or a credential.
#[derive(Debug)]
pub(crate) struct Guest(Principal);

impl FromRequestParts<Service> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Service) -> Result<Self, Problem> {
        let Query(Ticket { ticket }) = Query::from_request_parts(parts, server).await?;
        let Some(ticket) = ticket else {
            return Reader::from_request_parts(parts, server).await.map(|reader| Self(reader.0));
        };
        same_origin(server, parts)?;
        let principal = server.auth.redeem(&ticket).ok_or_else(|| {
            server.metrics.auth_refused(AuthRefusal::Ticket);
            unauthenticated()
        })?;
        within_rate(server, &principal)?;
        require(server, &principal, Role::User, Access::Read)?;
        Ok(Self(principal))
    }
}

/// One WebSocket for all of the user's threads. Frames are described in the documentation.
#[utoipa::path(get, path = "/v1/socket", tag = "events", params(Ticket),
    responses((status = 101, description = "the socket is open"), (status = "default", body = ProblemBody)))]
pub(crate) async fn open(
    State(server): State<Service>,
    guest: Guest,
    origin: Origin,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|error| Problem::new(Kind::InvalidRequest, error.body_text()))?;
    if server.closing.is_cancelled() {
        return Err(Problem::shutting_down());
    }
    let Guest(principal) = guest;
    let (outbox, chunks) = mpsc::channel(OUTBOX);
    let far_end = FarEnd::new(outbox.clone(), Arc::clone(&server.metrics));
    let id = ConnectionId::generate(server.engine.ids());
    let connection = server.engine.bridge().connect(&principal.scope, id, far_end)?;
    let session = Session::new(&server, principal, origin, connection, outbox);
    let upgrade = upgrade.max_message_size(FRAME_BYTES).max_frame_size(FRAME_BYTES).read_buffer_size(READ_BYTES);
    Ok(upgrade.on_upgrade(move |socket| session.run(socket, chunks)))
}
