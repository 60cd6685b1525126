//! Every command against a server: the same output, the same JSON and the same exit codes as here.

mod everything;
mod lost;
mod refused;
mod sides;
