//! A thin client of an Insula server.
