//! Hosts over SSH and the transfer between them, for reseed.
//!
//! - The host `ssh` ([`SshHost`]) reaches a machine by the operator's own OpenSSH client: one
//!   connection, made when it is first needed, shared by all commands and made anew when it broke.
//! - The stage `ssh-transfer` brings streams from the machine that sends to the one that receives,
//!   by the best means that the far side has: framed by reseed with length and SHA-256 end to end,
//!   compressed by a standard program, or plain.
//! - [`wire`] is the far side of the framed means: `reseed wire send` and `reseed wire receive`.
//!
//! - [`guard`] is what a key can be bound to on the machine that it leads to: `reseed guard`.
//!
//! Whatever the means, a receiver sees a clean end of its input only after a whole stream.

mod config;
mod error;
pub mod guard;
mod host;
mod transfer;
pub mod wire;

pub use config::SshConfig;
pub use host::SshHost;
