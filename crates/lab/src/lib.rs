//! Throw-away pools, sshd and PostgreSQL servers, for the demo and the tests of reseed.
