//! What stands in `Authorization`.
#![no_main]

use insula_server::auth::bearer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(credential) = bearer::of_header(text) {
        let _refused = bearer::parse(credential);
    }
    let _refused = bearer::parse(text);
});
