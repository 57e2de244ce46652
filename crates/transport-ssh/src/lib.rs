//! Hosts over SSH and the transfer between them, for reseed.
