//! The routes, one module for each part of the API. Each handler says in its attribute where it is found, and both the router and
//! the description of the API are made from that.

#![expect(unused_qualifications, reason = "the attributes of the descriptions qualify the types that they repeat")]

mod account;
mod admin;
mod agents;
mod archive;
mod console;
mod description;
mod events;
mod health;
mod inbox;
mod keys;
mod operator;
mod page;
mod payloads;
mod runs;
mod schedules;
mod submit;
mod threads;
mod webhooks;

use axum::{Json, Router, extract::DefaultBodyLimit, http::Method, middleware, routing::get};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use submit::{Submission, answer, cancel, submit};

use crate::{http::envelope::envelope, service::Service, socket};

#[derive(OpenApi)]
#[openapi(
    info(title = "Insula", description = "Many users' AI agents, each as if the machine were theirs."),
    modifiers(&Bearer),
    security(("bearer" = [])),
    components(schemas(crate::problem::ProblemBody, crate::wire::EventShape, crate::wire::Gap)),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key, or a JWT.")).build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// All routes with their descriptions.
fn described() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(runs::create, runs::list))
        .routes(routes!(runs::cancel_all))
        .routes(routes!(runs::one))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::answer))
        .routes(routes!(runs::retry))
        .routes(routes!(events::of_run))
        .routes(routes!(archive::export))
        .routes(routes!(archive::import))
        .routes(routes!(archive::replay))
        .routes(routes!(payloads::one))
        .routes(routes!(threads::list, threads::create))
        .routes(routes!(threads::one, threads::delete))
        .routes(routes!(threads::fork))
        .routes(routes!(events::of_thread))
        .routes(routes!(inbox::list))
        .routes(routes!(agents::list))
        .routes(routes!(agents::one))
        .routes(routes!(account::usage))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::put, schedules::delete))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(account::me, account::delete))
        .routes(routes!(account::audit))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::ticket))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::resend))
        .routes(routes!(socket::open))
        .routes(routes!(operator::overview))
        .routes(routes!(operator::nodes))
        .routes(routes!(admin::keys, admin::create_key))
        .routes(routes!(admin::revoke_key))
        .routes(routes!(admin::limits, admin::put_limits, admin::delete_limits))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The description of the API, made from the same attributes as its routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    description::complete(described().into_openapi())
}

/// Everything, with the layers around it.
pub(crate) fn router(server: &Service) -> Router {
    let (routes, description) = described().split_for_parts();
    let description = std::sync::Arc::new(description::complete(description));
    let openapi = get(move || async move { Json((*description).clone()) });
    routes
        .route("/openapi.json", openapi)
        .fallback(console::file)
        .layer(DefaultBodyLimit::max(server.settings.body_bytes))
        .layer(CompressionLayer::new())
        .layer(tower::util::option_layer(cors(server)))
        .layer(middleware::from_fn_with_state(server.clone(), envelope))
        .with_state(server.clone())
}

/// Pages of the configured origins may call the API; those of the server's own need no leave.
fn cors(server: &Service) -> Option<CorsLayer> {
    let origins: Vec<_> = server.settings.origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
            .expose_headers([axum::http::HeaderName::from_static("x-request-id"), axum::http::header::RETRY_AFTER])
    })
}
