//! The engine of reseed: a pipeline of plugin stages over lazy byte streams, with undo.
//!
//! - A pipeline is a fold over [`Kind`]s: every stage says what it gives for what it takes, before
//!   anything runs.
//! - The sink pulls: [`stream::ByteStream`]s are lazy, so memory is bounded by configuration.
//! - Undo is data, armed before the act and run by the [`engine`], never by `Drop`.
//!
//! This crate knows no file system, no database, no wire and no cloud; plugins bring those and
//! register themselves in the [`registry`].

pub mod codec;
pub mod config;
pub mod engine;
mod error;
pub mod event;
pub mod guard;
pub mod host;
pub mod item;
pub mod journal;
mod kind;
pub mod leftover;
pub mod names;
pub mod reader;
pub mod registry;
pub mod report;
pub mod stage;
pub mod stages;
pub mod stream;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod undo;

pub use error::{Class, Error, Result};
pub use inventory;
pub use kind::{Encoding, Format, Kind, Mismatch, StreamKind};

/// A new run's id: UTC time and a random tail; letters, digits and `-` only, sorted by time.
pub fn run_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    let now = jiff::Timestamp::now();
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_i128(now.as_nanosecond());
    format!("{}-{:06x}", now.strftime("%Y%m%dt%H%M%S"), hasher.finish() & 0xff_ffff)
}

/// Whether a text is a run's id, as [`run_id`] makes them.
pub fn is_run_id(text: &str) -> bool {
    let shape = b"00000000t000000-xxxxxx";
    let fits = |(is, want): (u8, &u8)| match want {
        b'0' => is.is_ascii_digit(),
        b'x' => matches!(is, b'0'..=b'9' | b'a'..=b'f'),
        other => is == *other,
    };
    text.len() == shape.len() && text.bytes().zip(shape).all(fits)
}

#[cfg(test)]
mod tests {
    #[test]
    fn run_ids_differ_and_are_safe_in_names() {
        let (one, other) = (super::run_id(), super::run_id());
        assert_ne!(one, other);
        assert!(super::is_run_id(&one));
        for bad in ["", "7", "20261125t171234-0a1b2", "20261125t171234-0A1B2C", "20261125t171234-0a1b2c/"] {
            assert!(!super::is_run_id(bad), "{bad}");
        }
        assert!(one.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{one}");
    }
}
