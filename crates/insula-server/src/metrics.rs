//! stub
use axum::http::{Method, StatusCode};
use std::time::Duration;
#[derive(Clone, Default)]
pub struct Metrics;
pub struct Open;
impl Metrics {
    pub fn new() -> Self {
        Self
    }
    pub fn request(&self, _: &str, _: &Method, _: StatusCode, _: Duration) {}
    pub fn socket_opened(&self) -> Open {
        Open
    }
    pub fn stream_opened(&self) -> Open {
        Open
    }
    pub fn frames_sent(&self, _: usize) {}
    pub fn gap(&self, _: &'static str) {}
    pub fn unauthenticated(&self, _: &'static str) {}
    pub fn rate_limited(&self, _: &'static str) {}
    pub fn sockets(&self) -> usize {
        0
    }
    pub fn webhooks(&self, _: std::sync::Arc<crate::webhooks::WebhookCounters>) {}
    pub async fn render(&self, _: &insula_engine::ExecutionEngineFactory) -> String {
        String::new()
    }
}
