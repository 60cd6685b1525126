//! What happens around every request: its id, its limits, its origin, its caller, its body.

pub(crate) mod caller;
pub(crate) mod envelope;
pub(crate) mod extract;
pub(crate) mod origin;
