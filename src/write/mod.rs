//! Bytes in. This version accepts none: every change is refused here, in one place, and the reason
//! is a typed error that `fs` maps to an errno like any other.
//!
//! Promises: nothing is accepted that could not be kept. Knows files and what a program wants to do
//! with them; never HTTP, never the kernel.
pub mod bytes;
pub mod content;
pub mod error;
pub mod file;
mod merge;
pub mod staging;
pub mod versions;
pub mod volume;

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The mount shows the account and does not change it.
    #[error("this mount is read-only")]
    ReadOnly,
    /// What the service says of a file cannot be set from here.
    #[error("attributes user.fichier.* are what the service says and cannot be set")]
    Told,
}

/// What a program wants to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The bytes of a file: an open for writing, a truncation.
    Content,
    /// Size, times, owner or permissions.
    Attributes,
    /// An extended attribute of a program's own.
    ExtendedAttribute,
    /// One of `user.fichier.*`.
    ToldAttribute,
}

/// Whether a change may be made.
pub fn admit(wish: Wish) -> Result<(), WriteError> {
    match wish {
        Wish::ToldAttribute => Err(WriteError::Told),
        Wish::Content | Wish::Attributes | Wish::ExtendedAttribute => Err(WriteError::ReadOnly),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_accepted_that_could_not_be_kept() {
        for wish in [Wish::Content, Wish::Attributes, Wish::ExtendedAttribute] {
            assert_eq!(admit(wish), Err(WriteError::ReadOnly));
        }
        assert_eq!(admit(Wish::ToldAttribute), Err(WriteError::Told));
    }
}
