//! Streams as chunks, and chunks as streams.

mod read;
mod write;

pub(crate) use read::examine;
pub use read::{Reading, read};
pub use write::{Keeping, There, Writing, Written, write};

#[cfg(test)]
mod tests;
