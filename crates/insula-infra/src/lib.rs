//! Ports to storage and signals, the memory backend that reads them out loud, and the conformance suite for every other.
