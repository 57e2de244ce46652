//! The reseed command.
