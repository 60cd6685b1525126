//! Large values of one owner, by hash.

use bytes::Bytes;

use super::shard::Map;
use crate::{Payload, PayloadHash};

/// Large values, each once however many runs refer to it.
#[derive(Debug, Default)]
pub(super) struct Payloads(Map<PayloadHash, (Bytes, usize)>);

impl Payloads {
    pub(super) fn keep(&mut self, payload: &Payload) -> PayloadHash {
        let (_, users) = self.0.entry(payload.hash()).or_insert_with(|| (payload.bytes().clone(), 0));
        *users += 1;
        payload.hash()
    }

    /// The bytes as they were kept, unchecked.
    pub(super) fn bytes(&self, hash: &PayloadHash) -> Option<Bytes> {
        self.0.get(hash).map(|(bytes, _)| bytes.clone())
    }

    pub(super) fn release(&mut self, hash: &PayloadHash) {
        if let Some((_, users)) = self.0.get_mut(hash) {
            *users -= 1;
            if *users == 0 {
                self.0.remove(hash);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn corrupt(&mut self) {
        self.0.values_mut().for_each(|(bytes, _)| *bytes = Bytes::from_static(b"rotten"));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
