//! Streams as chunks, and chunks as streams.

mod cut;
mod in_flight;
mod judge;
mod read;
mod write;

pub use judge::{Judge, Unfit};
pub(crate) use read::examine;
pub use read::{Reading, read, read_from};
pub use write::{Keeping, There, Writing, Written, write, write_behind, write_judged};

#[cfg(test)]
mod tests;
