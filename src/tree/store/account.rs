//! Whose store it is. A key can be replaced and a mail address changed; one of them stays.
use crate::api::scheduler::Fingerprint;
use crate::util::codec::{Reader, Writer};

/// What the record's checksum is bound to.
const PLACE: &[u8] = b"account";

/// An account as a store notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Fingerprint of its key.
    pub key: Box<str>,
    /// Its mail address; empty when the service did not say.
    pub email: Box<str>,
}

impl Owner {
    pub(super) fn new(key: &Fingerprint, email: &str) -> Self {
        Self {
            key: key.to_string().into(),
            email: email.into(),
        }
    }

    /// Whether both are one account.
    pub fn is(&self, other: &Self) -> bool {
        self.key == other.key || (!self.email.is_empty() && self.email == other.email)
    }

    pub(super) fn record(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(self.key.as_bytes());
        out.text(self.email.as_bytes());
        out.seal(PLACE)
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let mut from = Reader::unseal(PLACE, record)?;
        let mut text = || Some(Box::from(std::str::from_utf8(from.text()?).ok()?));
        Some(Self {
            key: text()?,
            email: text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(key: &str, email: &str) -> Owner {
        Owner {
            key: key.into(),
            email: email.into(),
        }
    }

    #[test]
    fn one_of_key_and_address_may_change() {
        let known = owner("k1", "a@example.org");
        assert!(known.is(&owner("k2", "a@example.org")));
        assert!(known.is(&owner("k1", "b@example.org")));
        assert!(!known.is(&owner("k2", "b@example.org")));
        assert!(!owner("k1", "").is(&owner("k2", "")));
        assert_eq!(Owner::read(&known.record()), Some(known));
    }
}
