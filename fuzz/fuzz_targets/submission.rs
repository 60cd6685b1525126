//! Bodies of submissions and schedules.
#![no_main]

use insula_server::wire::{NewRun, ScheduleOrder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _refused = serde_json::from_slice::<NewRun>(bytes);
    let _refused = serde_json::from_slice::<ScheduleOrder>(bytes);
});
