//! Bytes out: tokens, streams, read-ahead, memory blocks, disk cache.
pub mod disk;
