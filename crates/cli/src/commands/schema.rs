//! `reseed schema`.

use crate::{exit, out};

pub(crate) fn run() -> u8 {
    out::data(&format!("{:#}\n", reseed_core::config::pipeline_schema()));
    exit::DONE
}
