//! Memory is there as long as the process is.

use async_trait::async_trait;

use crate::{ComponentHealth, Health, HealthCheck};

#[derive(Debug)]
pub(super) struct Up;

#[async_trait]
impl HealthCheck for Up {
    async fn health(&self) -> Vec<ComponentHealth> {
        let detail = "in this process; nothing outlives it".to_owned();
        vec![ComponentHealth { component: "memory".to_owned(), health: Health::Up, detail }]
    }
}
