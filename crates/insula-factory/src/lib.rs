//! Fresh agent instances bound to their owner, counted while they live.
