//! Whole runs on today's OpenZFS, between two virtual machines, by a user without rights of root on
//! the primary: `make test-openzfs`.

mod between;
mod chain;
mod chains;
mod interrupted;
mod obstacles;
mod postgres;
mod staged;
