//! btrfs for reseed.
