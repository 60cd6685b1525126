//! What Redis does in one step. Each script is one command: it is carried out whole or not at all.

use std::sync::LazyLock;

use fred::types::scripts::Script;

macro_rules! cache_script {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::from_lua(concat!(include_str!("lua/common.lua"), include_str!($file))));
    };
}

cache_script!(GET, "lua/get.lua");
cache_script!(SET, "lua/set.lua");
cache_script!(DELETE, "lua/delete.lua");
cache_script!(INCREMENT, "lua/increment.lua");
cache_script!(PUSH, "lua/push.lua");
cache_script!(RANGE, "lua/range.lua");
cache_script!(CLEAR, "lua/clear.lua");

/// Takes from a window.
pub(crate) static TAKE: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("lua/take.lua")));
