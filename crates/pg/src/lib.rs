//! PostgreSQL for reseed: quiesce, configure, switch and prove.

pub mod cluster;
pub mod facts;
mod leftovers;
pub mod lsn;
pub mod service;
pub mod session;
mod source;

mod target;

pub use source::basebackup;
