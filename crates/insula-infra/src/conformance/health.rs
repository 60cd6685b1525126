//! Rules of telling how a backend is.

use super::Subject;
use crate::Health;

/// A backend that works says so, by the name of each component, in words.
pub async fn answers_for_every_component(subject: Subject) {
    let components = subject.backend.health.health().await;
    assert!(!components.is_empty(), "nobody answered");
    for component in components {
        assert_eq!(component.health, Health::Up, "{component:?}");
        assert!(!component.component.is_empty() && !component.detail.is_empty(), "{component:?}");
    }
}
