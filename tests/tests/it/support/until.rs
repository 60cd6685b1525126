//! Waiting for a condition instead of for luck.

use std::time::Duration;

/// Looks again and again until it is so. Panics when it is not so within a generous time.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(20);
    assert!(tokio::time::timeout(patience, looking).await.is_ok(), "not within {patience:?}: {what}");
}

/// As [`until`], of something that takes a question to somebody else to find out.
pub(crate) async fn until_async(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(20);
    assert!(tokio::time::timeout(patience, looking).await.is_ok(), "not within {patience:?}: {what}");
}
