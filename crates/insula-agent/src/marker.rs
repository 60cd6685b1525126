//! A mark that no two instances share.

use std::fmt;

use serde::{Serialize, Serializer};

/// 128 random bits that tell one instance of an agent from every other. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceMarker(u128);

impl InstanceMarker {
    /// From the bits of an id source.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for InstanceMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for InstanceMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceMarker({self})")
    }
}

impl Serialize for InstanceMarker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
