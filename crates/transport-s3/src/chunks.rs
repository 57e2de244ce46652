//! Streams as chunks, and chunks as streams.

mod cut;
mod judge;
mod read;
mod write;

pub use judge::Judge;
pub(crate) use read::examine;
pub use read::{Reading, read};
pub use write::{Keeping, There, Writing, Written, write, write_judged};

#[cfg(test)]
mod tests;
