//! The fuzzer: libFuzzer around one of [`targets`], which `HEARTH_FUZZ_TARGET` names. See `run.sh`.
#![no_main]

// The header's parser is built from its source, since its crate would bring half the server along; it
// names identifiers through `hearth_types`, which here are those of ruma-common.
extern crate self as hearth_types;
use ruma_common as ruma;

mod targets;
#[expect(dead_code, reason = "only the parser is a target")]
#[path = "../../federation/transport/src/x_matrix.rs"]
mod x_matrix;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("HEARTH_FUZZ_TARGET").expect("HEARTH_FUZZ_TARGET names a target");
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target
        .expect("HEARTH_FUZZ_TARGET names a target that there is")
        .1
});

fuzz_target!(|data: &[u8]| TARGET(data));
