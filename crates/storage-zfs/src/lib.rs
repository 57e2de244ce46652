//! ZFS for reseed: snapshot, send, receive and clone as stages.
