//! Nobody meets anybody.

use serde_json::json;

use crate::support::{Island, on_every_backend};

on_every_backend! {
    async fn smoke(island: Island) {
        let ada = island.user("ada");
        assert!(island.run(&ada, "tools", json!("salve")).await.is_success());
    }
}
