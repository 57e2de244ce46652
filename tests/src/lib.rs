//! Tests of reseed on real parts.
