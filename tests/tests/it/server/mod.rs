//! What whoever speaks to the server over the network can rely on: who is let in to what, streams that survive a cut, an end
//! in order, and that nothing that is sent does any harm.
//!
//! Every request goes to the real server over a real connection; where a process has to die, it is the binary `insula`.

mod audit;
mod broken;
mod crowds;
mod draining;
mod guests;
mod hooks;
mod house;
mod journeys;
mod killed;
mod lagging;
mod order;
pub(crate) mod process;
mod raw;
mod refused;
mod resuming;
mod shapes;
mod socket;
mod sockets;
mod sse;
mod strangers;
mod table;
mod told;
mod victim;
mod web;
