//! PostgreSQL for reseed: quiesce, configure, switch and prove.

pub mod cluster;
pub mod facts;
pub mod service;
mod target;
