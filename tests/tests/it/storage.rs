//! Rows, payloads and caches.
