//! tmp
pub mod inode;
pub mod listing;
pub mod names;
pub mod node;
pub mod numbering;
