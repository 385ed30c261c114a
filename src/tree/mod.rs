//! tmp
pub mod inode;
pub mod names;
pub mod node;
