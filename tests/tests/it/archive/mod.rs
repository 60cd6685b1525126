//! A run outlives the store that it was made in: as a file, as a record to execute again, as the beginning of another
//! conversation. And what is deleted is gone.

mod files;
mod refused;
mod replays;
mod story;
mod threads;
