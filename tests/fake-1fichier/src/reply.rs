//! Answers before they become HTTP: JSON as the service writes it, pages, texts.

use std::fmt::Write;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::config::{Config, FloodText};

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ko {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The status is certain, so the switch `ko_status` does not touch it.
    pub(crate) fixed: bool,
}

impl Ko {
    /// A refusal whose HTTP status is only known by hearsay.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            fixed: false,
        }
    }

    fn fixed(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            fixed: true,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::fixed(404, "Resource not found #469")
    }

    pub(crate) fn not_allowed() -> Self {
        Self::new(403, "Resource not allowed #631")
    }

    pub(crate) fn bad_parameter(name: &str) -> Self {
        Self::new(200, format!("Bad or missing parameter {name} #25"))
    }

    pub(crate) fn not_authenticated() -> Self {
        Self::fixed(401, "Not authenticated #92")
    }

    pub(crate) fn no_such_user() -> Self {
        Self::fixed(403, "No such user #93")
    }

    pub(crate) fn flood(config: &Config) -> Self {
        let text = match config.flood_text {
            FloodText::Ip => "Flood detected: IP Locked #374",
            FloodText::User => "Flood detected: User Locked #223",
            FloodText::Apk => "Flood detected: User APK Locked",
        };
        Self::fixed(config.flood_status, text)
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "status": "KO", "message": self.message })
    }
}

/// What a JSON call ends with.
pub(crate) type Outcome = Result<Value, Ko>;

/// Writes `value` with the oddities of the service: keys in random order, raw UTF-8, and a backslash that is not
/// escaped (reference 2.1).
pub(crate) fn json_text(value: &Value, config: &Config, rng: &mut Rng) -> String {
    let mut out = String::new();
    write_value(&mut out, value, config, rng);
    out
}

fn write_value(out: &mut String, value: &Value, config: &Config, rng: &mut Rng) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            if config.shuffle_keys {
                rng.shuffle(&mut entries);
            }
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(out, key, config);
                out.push(':');
                write_value(out, value, config, rng);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item, config, rng);
            }
            out.push(']');
        }
        Value::String(text) => write_text(out, text, config),
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(out: &mut String, text: &str, config: &Config) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' if config.raw_backslash => out.push('\\'),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An HTML page around a text.
pub(crate) fn page(text: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"fr\"><head><meta charset=\"utf-8\"><title>1fichier.com</title></head>\
         <body><div class=\"bloc\">{text}</div></body></html>\n"
    )
}

/// The maintenance page of a 503.
pub(crate) const MAINTENANCE: &str =
    "Our services are in maintenance. Please come back after 20 minutes";

/// The page while a node works on an upload.
pub(crate) const WAIT: &str = "Veuillez patienter / Please wait, your file is being processed";

/// The refusal of a malformed upload.
pub(crate) const NO_FILE: &str = "Pas de fichier trouv&eacute; dans l'envoi";

/// The refusal above the limit of download connections.
pub(crate) const CONNECTIONS: &str = "Your IP opens too many connections to the server";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_valid_unless_a_backslash_is_stored() {
        let (mut config, mut rng) = (Config::default(), Rng::with_seed(3));
        let value = json!({"a": [1, null, {"é\"\n": "x"}], "b": "c"});
        let text = json_text(&value, &config, &mut rng);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("valid"), value);
        let odd = json!({"filename": "a\\b c\\d.txt"});
        let text = json_text(&odd, &config, &mut rng);
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
        config.raw_backslash = false;
        let text = json_text(&odd, &config, &mut rng);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("valid"), odd);
    }

    #[test]
    fn key_order_changes() {
        let (config, mut rng) = (Config::default(), Rng::with_seed(3));
        let value = json!({"a": 1, "b": 2, "c": 3, "d": 4});
        let texts: std::collections::HashSet<String> = (0..20)
            .map(|_| json_text(&value, &config, &mut rng))
            .collect();
        assert!(texts.len() > 3);
    }
}
