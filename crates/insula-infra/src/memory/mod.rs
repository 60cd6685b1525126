//! stub
/// x
pub struct MemoryBackend;
