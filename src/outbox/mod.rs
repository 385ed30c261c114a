//! What the account still has to be told.
//!
//! Holds what is settled of it so far: how the report of an upload is read ([`report`]). A file
//! counts as uploaded when the report shows its size and hash, and not before.
pub mod report;
