//! Why an errand was not done, in words that say what to do.
use crate::api::{ApiError, ErrorKind, Reached};
use std::time::Duration;

/// Why an errand was not done: a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    /// With this sentence.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// What a failed call means for who asked for it, `what` being what it was about.
    pub fn of_call(what: &str, error: &ApiError) -> Self {
        let todo = advice(error.kind).unwrap_or_default();
        let wait = error.retry_after.map_or_else(String::new, |span| {
            // Rounded up: asked again after that time, it is not too soon.
            let span = Duration::from_secs(span.as_secs() + 1);
            format!("; try again in {}", humantime::format_duration(span))
        });
        let doubt = match error.reached {
            Reached::Unknown => {
                "; whether it was done all the same is not known: look before you try again"
            }
            Reached::NotSent | Reached::Answered => "",
        };
        Self(format!("{what}: {error}{todo}{wait}{doubt}"))
    }
}

/// What can be done about a failure, where its own sentence does not say it.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    use ErrorKind as K;
    Some(match kind {
        K::NotCustomer => "; `fichierfs account` shows which offer this account has",
        K::NotAllowed => {
            "; it is somebody else's and not to be changed by you, or limited to other addresses, \
             countries or accounts"
        }
        K::Password => "; say --password and type it",
        K::NotFound => "; it may be gone, or its owner bound it to another domain",
        K::OverQuota => "; make room, or see `fichierfs account`",
        K::IpBanned => "; nothing but waiting helps",
        K::OwnerLocked => "; leave it alone for some minutes",
        K::NetworkRefused => {
            "; a network at home or a GOLD account needs none, and in a mount they are spent with --cdn"
        }
        K::TooManyLocations => "; end what uses it elsewhere",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_when_it_may_have_been_done() {
        let said = |kind, reached| {
            let mut error = ApiError::new(kind, "file/cp", reached, "KO #1");
            if kind == ErrorKind::Flood {
                error.retry_after = Some(Duration::from_secs(29));
            }
            Refusal::of_call("a.txt", &error).to_string()
        };
        for (kind, says) in [
            (ErrorKind::NotCustomer, "fichierfs account"),
            (ErrorKind::NotAllowed, "somebody else's"),
            (ErrorKind::Password, "--password"),
            (ErrorKind::OverQuota, "make room"),
            (ErrorKind::NetworkRefused, "--cdn"),
            (ErrorKind::Flood, "try again in 30s"),
        ] {
            let said = said(kind, Reached::Answered);
            assert!(said.starts_with("a.txt: ") && said.contains(says), "{said}");
            assert!(!said.contains("not known"), "{said}");
        }
        assert!(said(ErrorKind::Timeout, Reached::Unknown).contains("look before"));
    }
}
