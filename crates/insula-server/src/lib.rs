//! The agent server: the native API over HTTP, server-sent events and one WebSocket, authentication, webhooks and the console,
//! on top of `insula-engine`.
//!
//! [`router`] nests in somebody's own service; [`Server::serve`] behind [`listen`] is a whole one, with limits on connections and
//! time, TLS, and an end that waits for what is in progress. A caller is whoever the [`auth::Authenticator`] says, and nobody else mints a
//! scope; what a caller may do is the type of the extractor that a route takes.
//!
//! ```
//! # async fn example(engine: insula_engine::ExecutionEngineFactory) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use insula_server::{auth::Authenticator, router};
//!
//! let authenticator = Authenticator::builder(Arc::clone(&engine.backend().keys)).build()?;
//! let app: axum::Router = axum::Router::new().nest("/agents", router(engine, authenticator));
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`wire`] (what is sent), [`problem`] (what goes wrong), [`auth`] (who is asking), `service` (what all routes share),
//! `http` (what happens around every request), `routes`, `feed` (one reader of a log), `sse` and `socket` (its two encodings),
//! [`webhooks`], [`metrics`], `serve` (listening and ending).

mod audit;
pub mod auth;
mod error;
mod feed;
mod http;
pub mod metrics;
mod plans;
pub mod problem;
mod routes;
mod seats;
mod serve;
mod service;
mod settings;
mod socket;
mod sse;
pub mod webhooks;
pub mod wire;

pub use error::Error;
pub use http::origin::Origin;
pub use plans::Plans;
pub use problem::Problem;
pub use routes::openapi;
pub use serve::{Tls, listen};
pub use service::{Server, ServerBuilder, router};
pub use settings::Settings;
