//! Named mixes of shaping, enforcement and faults.

use std::str::FromStr;

use crate::config::Config;
use crate::faults::{Fault, FaultKind};
use crate::shape::Shape;

/// How the fake behaves as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// No delays, no limits; rules are counted, not enforced.
    #[default]
    Fast,
    /// The speed of a good home connection, rules enforced.
    Home,
    /// `Home`, and 2 % of every fault a client can survive.
    Hostile,
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fast" => Ok(Self::Fast),
            "home" => Ok(Self::Home),
            "hostile" => Ok(Self::Hostile),
            _ => Err(format!("profile {text:?} is none of fast, home, hostile")),
        }
    }
}

/// Share of the calls each fault of the hostile profile meets.
const HOSTILE: f64 = 0.02;

impl Profile {
    /// Delays and bandwidth.
    pub fn shape(self) -> Shape {
        match self {
            Self::Fast => Shape::default(),
            Self::Home | Self::Hostile => Shape {
                api_ms: 150.0,
                token_ms: 250.0,
                first_byte_ms: 60.0,
                node_ms: 150.0,
                connect_ms: 40.0,
                jitter: if self == Self::Home { 0.0 } else { 0.3 },
                connection_bytes_per_second: 25e6,
                total_bytes_per_second: 100e6,
            },
        }
    }

    /// Sets the switches of the profile.
    pub fn configure(self, config: &mut Config) {
        config.enforce_rules = self != Self::Fast;
        if self == Self::Hostile {
            config.appear_delay_seconds = 20.0;
            config.vanish_delay_seconds = 10.0;
            config.wait_polls = 1;
            config.expired_form = crate::config::ExpiredForm::Rotate;
        }
    }

    /// Faults at work from the start.
    ///
    /// Left out is what no client can survive: corrupted bytes, a refused key, a full quota, a ban of an hour.
    pub fn faults(self) -> Vec<Fault> {
        if self != Self::Hostile {
            return Vec::new();
        }
        let everywhere = [
            FaultKind::Status { code: 502 },
            FaultKind::Status { code: 500 },
            FaultKind::Maintenance,
            FaultKind::Reset,
            FaultKind::Stall,
        ];
        let api = [
            FaultKind::Flood { lock: true },
            FaultKind::MalformedJson,
            FaultKind::HtmlOk,
            FaultKind::LostReply,
        ];
        let download = [
            FaultKind::ResetAfter { bytes: 100_000 },
            FaultKind::CloseAfter { bytes: 70_000 },
            FaultKind::StallAfter { bytes: 150_000 },
            FaultKind::ShortBody { bytes: 5_000 },
            FaultKind::WrongRangeStart,
            FaultKind::WrongRangeTotal,
            FaultKind::IgnoreRange,
            FaultKind::ExpiredToken {
                form: crate::config::ExpiredForm::Rotate,
            },
        ];
        let mut all = Vec::new();
        for kind in everywhere {
            all.push(Fault::on("*", kind).with_probability(HOSTILE));
        }
        for kind in api {
            all.push(Fault::on("api", kind).with_probability(HOSTILE));
        }
        for kind in download {
            all.push(Fault::on("download", kind).with_probability(HOSTILE));
        }
        for kind in [
            FaultKind::LostReply,
            FaultKind::CloseAfter { bytes: 20_000 },
        ] {
            all.push(Fault::on("upload.cgi", kind).with_probability(HOSTILE));
        }
        for kind in [
            FaultKind::EmptyReport,
            FaultKind::HtmlOk,
            FaultKind::MalformedJson,
        ] {
            all.push(Fault::on("end.pl", kind).with_probability(HOSTILE));
        }
        all
    }
}
