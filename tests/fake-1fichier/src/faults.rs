//! Faults: what goes wrong, where, how often. Picks are reproducible from the seed.

use std::sync::Mutex;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::config::ExpiredForm;
use crate::lock;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// That status with an HTML page; the call is not carried out.
    Status {
        /// HTTP status, for example 500, 502, 504, 509.
        code: u16,
    },
    /// 503 with the maintenance page.
    Maintenance,
    /// A flood answer.
    Flood {
        /// The lock starts too, as it would after a real breach.
        #[serde(default)]
        lock: bool,
    },
    /// The nine bytes `IP Locked`, and the ban of an hour when `lock` is set.
    IpLocked {
        /// The ban starts too.
        #[serde(default)]
        lock: bool,
    },
    /// A KO answer; the call is not carried out.
    Ko {
        /// HTTP status.
        code: u16,
        /// Text of the message.
        message: String,
    },
    /// The connection is reset (RST) before any byte of the answer.
    Reset,
    /// The connection is closed (FIN) before any byte of the answer.
    Close,
    /// Nothing is ever answered; ends when the client closes.
    Stall,
    /// The call is carried out, then the connection is reset instead of an answer.
    LostReply,
    /// Reset after that many bytes: of the answer for downloads, of the body for uploads.
    ResetAfter {
        /// Bytes let through.
        bytes: u64,
    },
    /// Closed after that many bytes of the body.
    CloseAfter {
        /// Bytes let through.
        bytes: u64,
    },
    /// Silence after that many bytes of the body.
    StallAfter {
        /// Bytes let through.
        bytes: u64,
    },
    /// A byte a (virtual) second after that many bytes of a download's body.
    TrickleAfter {
        /// Bytes let through.
        bytes: u64,
    },
    /// A complete answer that is shorter than asked: `Content-Length` says so, `Content-Range` does not.
    ShortBody {
        /// Bytes of the body.
        bytes: u64,
    },
    /// `Content-Range` says a start one byte further.
    WrongRangeStart,
    /// `Content-Range` says a total one byte larger.
    WrongRangeTotal,
    /// 200 with the whole file to a ranged request.
    IgnoreRange,
    /// One byte of the body is changed; of an upload, one of its first file as it is stored.
    Corrupt {
        /// Which byte of the body.
        #[serde(default)]
        at: u64,
    },
    /// The download URL behaves as expired.
    ExpiredToken {
        /// In which form.
        form: ExpiredForm,
    },
    /// The upload report has no links.
    EmptyReport,
    /// The answer is cut in the middle of its JSON.
    MalformedJson,
    /// 200 with an HTML page instead of JSON.
    HtmlOk,
    /// `No such user #93`.
    KeyRefused,
    /// Uploads are refused for want of space.
    Quota,
    /// The answer comes that much later.
    Slow {
        /// Virtual seconds.
        seconds: f64,
    },
    /// The uploaded file is found infected: reported, never listed.
    Infected,
}

impl FaultKind {
    /// A 5xx instead of the call.
    pub(crate) fn is_server_error(&self) -> bool {
        matches!(self, Self::Maintenance | Self::Status { code: 500.. })
    }
}

/// A fault with its reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// `*`, `api` (every JSON call), `node` (`upload.cgi`, `end.pl`), or one endpoint such as `folder/ls`, `download`.
    pub endpoint: String,
    /// Part of a file or folder name or URL; any when missing.
    #[serde(default)]
    pub name: Option<String>,
    /// Calls it meets before it is spent; without end when missing.
    #[serde(default)]
    pub times: Option<u64>,
    /// Matching calls let through first.
    #[serde(default)]
    pub skip: u64,
    /// Chance per matching call, 0 to 1.
    #[serde(default = "certain")]
    pub probability: f64,
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
}

fn certain() -> f64 {
    1.0
}

impl Fault {
    /// `kind` on every call of `endpoint`.
    pub fn on(endpoint: &str, kind: FaultKind) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            name: None,
            times: None,
            skip: 0,
            probability: 1.0,
            kind,
        }
    }

    /// Only the next `n` matching calls.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// Only the next matching call.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Lets `n` matching calls through first.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Only calls about names or URLs that contain `part`.
    #[must_use]
    pub fn named(mut self, part: &str) -> Self {
        self.name = Some(part.to_owned());
        self
    }

    /// Only that share of the matching calls.
    #[must_use]
    pub fn with_probability(mut self, chance: f64) -> Self {
        self.probability = chance;
        self
    }

    fn reaches(&self, endpoint: &str, subjects: &[String]) -> bool {
        let place = match self.endpoint.as_str() {
            "*" => true,
            "api" => !matches!(endpoint, "upload.cgi" | "end.pl" | "download" | "dir"),
            "node" => matches!(endpoint, "upload.cgi" | "end.pl"),
            one => one == endpoint,
        };
        place
            && self
                .name
                .as_ref()
                .is_none_or(|part| subjects.iter().any(|s| s.contains(part.as_str())))
    }
}

/// The faults at work.
#[derive(Debug)]
pub struct Faults(Mutex<(Vec<Fault>, Rng)>);

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new((Vec::new(), Rng::with_seed(seed))))
    }

    /// Adds one; of several that match a call the oldest wins.
    pub fn add(&self, fault: Fault) {
        lock(&self.0).0.push(fault);
    }

    /// Removes all.
    pub fn clear(&self) {
        lock(&self.0).0.clear();
    }

    /// Those not spent yet.
    pub fn list(&self) -> Vec<Fault> {
        lock(&self.0).0.clone()
    }

    /// The fault this call meets, if any; counts it.
    pub(crate) fn pick(&self, endpoint: &str, subjects: &[String]) -> Option<FaultKind> {
        self.pick_if(endpoint, subjects, |_| true)
    }

    /// The fault one file of an upload meets. Faults without a name meet the upload once, at its `first` file.
    pub(crate) fn pick_for_upload(&self, first: bool, subjects: &[String]) -> Option<FaultKind> {
        self.pick_if("upload.cgi", subjects, |fault| {
            first || fault.name.is_some()
        })
    }

    fn pick_if(
        &self,
        endpoint: &str,
        subjects: &[String],
        wanted: impl Fn(&Fault) -> bool,
    ) -> Option<FaultKind> {
        let mut guard = lock(&self.0);
        let (faults, rng) = &mut *guard;
        let mut picked = None;
        for (index, fault) in faults.iter_mut().enumerate() {
            if !fault.reaches(endpoint, subjects) || !wanted(fault) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.probability < 1.0 && rng.f64() >= fault.probability {
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
            }
            picked = Some((index, fault.kind.clone(), fault.times == Some(0)));
            break;
        }
        let (index, kind, spent) = picked?;
        if spent {
            faults.remove(index);
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_skips_and_names() {
        let faults = Faults::new(1);
        faults.add(
            Fault::on("download", FaultKind::Reset)
                .once()
                .after(1)
                .named("film"),
        );
        let film = ["film.mkv".to_owned()];
        assert_eq!(faults.pick("download", &["other".to_owned()]), None);
        assert_eq!(faults.pick("folder/ls", &film), None);
        assert_eq!(faults.pick("download", &film), None);
        assert_eq!(faults.pick("download", &film), Some(FaultKind::Reset));
        assert_eq!(faults.pick("download", &film), None);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn one_seed_one_sequence() {
        let run = || -> Vec<bool> {
            let faults = Faults::new(9);
            faults.add(Fault::on("api", FaultKind::Maintenance).with_probability(0.3));
            (0..50)
                .map(|_| faults.pick("folder/ls", &[]).is_some())
                .collect()
        };
        assert_eq!(run(), run());
        assert!(run().iter().any(|hit| *hit) && !run().iter().all(|hit| *hit));
    }

    #[test]
    fn reads_from_json() {
        let text = r#"{"endpoint":"download","kind":"stall_after","bytes":7,"times":2}"#;
        let fault: Fault = serde_json::from_str(text).expect("valid");
        assert_eq!(
            fault,
            Fault::on("download", FaultKind::StallAfter { bytes: 7 }).times(2)
        );
    }
}
