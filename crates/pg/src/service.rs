//! How a server is started and stopped.

use schemars::JsonSchema;
use serde::Deserialize;

/// How a server is started and stopped.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {}

/// How a server is started and stopped.
#[derive(Debug, Clone, Default)]
pub struct Service {}

impl ServiceConfig {
    /// The service that this describes.
    pub(crate) fn build(self) -> Service {
        Service {}
    }
}
