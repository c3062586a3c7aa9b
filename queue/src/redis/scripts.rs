//! The scripts: one step each on the server, the only place where state changes.

use standfast_core::redis::Script;

const fn plain(source: &'static str) -> Script {
    Script::new(source)
}

macro_rules! with_library {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/lib.lua"), include_str!($file)))
    };
}

pub(super) static SEND: Script = plain(include_str!("lua/send.lua"));
pub(super) static CLAIM: Script = with_library!("lua/claim.lua");
pub(super) static SETTLE: Script = with_library!("lua/settle.lua");
pub(super) static EXTEND: Script = with_library!("lua/extend.lua");
pub(super) static LOOK: Script = with_library!("lua/look.lua");
pub(super) static REDRIVE: Script = with_library!("lua/redrive.lua");
pub(super) static FORGET: Script = plain(include_str!("lua/forget.lua"));
pub(super) static PURGE: Script = with_library!("lua/purge.lua");
pub(super) static PAUSE: Script = plain(include_str!("lua/pause.lua"));
