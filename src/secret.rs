//! The API key as a type that cannot be printed.
//!
//! Promises: the key leaves this type only through [`ApiKey::expose`], which `api` alone calls to
//! build the `Authorization` header; `Debug` shows no character of it; the memory is wiped on drop.
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// Length of a key according to what other clients check (API reference 1); only warned about.
const USUAL_KEY_CHARS: usize = 32;

/// An account's API key.
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// Why a text cannot be a key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Nothing but white space.
    #[error("the API key is empty; copy it from https://1fichier.com/console/params.pl")]
    Empty,
    /// Something that no HTTP header can carry.
    #[error(
        "the API key holds a character no key has (a line break inside, a blank or an accent); \
         copy it again from https://1fichier.com/console/params.pl"
    )]
    Characters,
}

impl ApiKey {
    /// Takes a key as typed or read from a file: surrounding white space is dropped.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let key = text.trim();
        if key.is_empty() {
            return Err(BadKey::Empty);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadKey::Characters);
        }
        Ok(Self(key.into()))
    }

    /// Whether it looks like every key seen so far: 32 characters of `A-Z a-z 0-9 - _ =`.
    pub fn looks_usual(&self) -> bool {
        let key = self.expose();
        key.len() == USUAL_KEY_CHARS
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='))
    }

    /// The key itself, for the request header and for storing it at `login`.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_checked_and_never_printed() {
        let key = ApiKey::parse("  0123456789abcdefABCDEF-_=0123456\n").unwrap();
        assert_eq!(key.expose(), "0123456789abcdefABCDEF-_=0123456");
        assert!(key.looks_usual());
        assert!(!format!("{key:?}").contains("0123"));
        assert_eq!(ApiKey::parse(" \n").unwrap_err(), BadKey::Empty);
        assert_eq!(ApiKey::parse("ab cd").unwrap_err(), BadKey::Characters);
        assert!(!ApiKey::parse("short").unwrap().looks_usual());
    }
}
