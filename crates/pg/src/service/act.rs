//! x
pub(crate) struct Server;
