//! The API key and passwords of files as types that cannot be printed.
//!
//! Promises: the key leaves its type only through [`ApiKey::expose`], which `api` alone calls to
//! build the `Authorization` header; `Debug` shows no character of either; the memory is wiped on drop.
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
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

/// Characters of a password at least (API reference 5.4 and 5.11).
const SHORTEST_PASSWORD: usize = 6;

/// Characters of a password at most; the service names no limit, and nobody types more.
const LONGEST_PASSWORD: usize = 200;

/// The password of a file or of a folder's public page. As JSON it is itself: that goes to the service,
/// and over a mount's own socket.
#[derive(Clone)]
pub struct Password(SecretString);

/// Why a text cannot be a password. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Fewer characters than the service takes.
    #[error("a password has at least {SHORTEST_PASSWORD} characters")]
    TooShort,
    /// More than anybody means.
    #[error("a password has at most {LONGEST_PASSWORD} characters")]
    TooLong,
    /// A line break or the like.
    #[error("a password is one line without control characters")]
    Characters,
}

impl Password {
    /// Takes a password as typed or read from a file: a line break at its end is dropped, blanks are not.
    pub fn parse(text: &str) -> Result<Self, BadPassword> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.chars().any(char::is_control) {
            return Err(BadPassword::Characters);
        }
        match text.chars().count() {
            ..SHORTEST_PASSWORD => Err(BadPassword::TooShort),
            SHORTEST_PASSWORD..=LONGEST_PASSWORD => Ok(Self(text.into())),
            _ => Err(BadPassword::TooLong),
        }
    }

    /// The password itself, for a request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Password {}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line_of_six_characters_or_more_and_never_printed() {
        let password = Password::parse(" été 1\r\n").unwrap();
        assert_eq!(password.expose(), " été 1");
        assert!(!format!("{password:?}").contains("été"));
        assert_eq!(Password::parse("12345\n"), Err(BadPassword::TooShort));
        assert_eq!(Password::parse("123\n456"), Err(BadPassword::Characters));
        assert_eq!(
            Password::parse(&"x".repeat(LONGEST_PASSWORD + 1)),
            Err(BadPassword::TooLong)
        );
    }

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
