//! Stages and resources that know nothing but streams and this machine. Pipeline files pick them by
//! `use`; programs that build pipelines in code make them here.

mod buffer;
mod exec;
mod hash;
mod passing;
mod tee;
mod throttle;
mod zstd;

use std::sync::Arc;

pub use self::buffer::buffer;
pub use self::exec::Exec;
pub use self::hash::hash;
pub use self::tee::TeeInCode as Tee;
pub use self::throttle::{Hours, TimeOfDay, throttle};
pub use self::zstd::{unzstd, zstd};

use crate::config::BuildCx;
use crate::host::{Host, LocalConfig, LocalHost};
use crate::register_resource;
use crate::registry::{HostResource, ResourceConfig};

/// The machine that this process runs on, for what a filter does in this process.
pub(crate) fn here() -> Arc<dyn Host> {
    Arc::new(LocalHost::new("local", &LocalConfig::default()))
}

impl ResourceConfig for LocalConfig {
    const TABLE: &'static str = "hosts";
    const USE: Option<&'static str> = Some("local");
    type Resource = HostResource;

    fn build(self, name: &str, _cx: &mut BuildCx<'_>) -> Option<HostResource> {
        Some(HostResource(Arc::new(LocalHost::new(name, &self))))
    }
}

register_resource!(LocalConfig);
