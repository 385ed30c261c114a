//! How metrics are written: as OpenMetrics 1.0 or in the text format of Prometheus (0.0.4).
//!
//! Promises: what is written is valid whatever a label holds; all samples of a family stand together below
//! its description.
use std::fmt::{self, Write};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows while the process lives; `_total` follows its name.
    Counter,
    /// It is what it is at the moment.
    Gauge,
    /// 1, with what it tells in its labels; `_info` follows its name.
    Info,
}

impl Kind {
    /// What follows the name of its samples.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge => "",
            Self::Info => "_info",
        }
    }

    /// Its name in that form.
    pub(super) fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Info, Format::OpenMetrics) => "info",
            _ => "gauge",
        }
    }
}

/// What a family of metrics is called and means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    /// Its name without what its kind adds; it ends with its unit, if it has one.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Its unit, or nothing.
    pub(super) unit: &'static str,
    /// One sentence; no line break, quote or backslash.
    pub(super) help: &'static str,
}

/// A figure of a family.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// A number. Whole ones are never rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Signed(i64),
    Real(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Real(value) if value.is_infinite() && *value > 0.0 => f.write_str("+Inf"),
            Self::Real(value) if value.is_infinite() => f.write_str("-Inf"),
            Self::Real(value) => value.fmt(f),
        }
    }
}

/// Writes families one after the other.
#[derive(Debug)]
pub(super) struct Writer {
    format: Format,
    text: String,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// A family with its samples; one without samples is left out.
    pub(super) fn family(&mut self, family: &Family, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let Family {
            name,
            kind,
            unit,
            help,
        } = family;
        let suffix = kind.suffix();
        let is_open = self.format == Format::OpenMetrics;
        // In the older form a family bears the name of its samples.
        let described = if is_open { "" } else { suffix };
        let text = &mut self.text;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name}{described} {help}");
        let _ = writeln!(text, "# TYPE {name}{described} {}", kind.name(self.format));
        if is_open && !unit.is_empty() {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        for Sample { labels, value } in samples {
            let _ = write!(text, "{name}{suffix}");
            let mut before = '{';
            for (label, value) in labels {
                let _ = write!(text, "{before}{label}=\"{}\"", Escaped(value));
                before = ',';
            }
            if !labels.is_empty() {
                text.push('}');
            }
            let _ = writeln!(text, " {value}");
        }
    }

    /// All that was written.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The value of a label between its quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALLS: Family = Family {
        name: "x_calls",
        kind: Kind::Counter,
        unit: "",
        help: "Calls.",
    };
    const SIZE: Family = Family {
        name: "x_size_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Bytes.",
    };
    const WHO: Family = Family {
        name: "x",
        kind: Kind::Info,
        unit: "",
        help: "Who.",
    };

    fn written(format: Format) -> String {
        let mut writer = Writer::new(format);
        let sample = |labels: &[(&'static str, &str)], value| Sample {
            labels: labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            value,
        };
        writer.family(&WHO, &[sample(&[("a", "b\"\\\n")], Value::Whole(1))]);
        writer.family(
            &CALLS,
            &[sample(&[("a", "b"), ("c", "d")], Value::Whole(u64::MAX))],
        );
        writer.family(&SIZE, &[sample(&[], Value::Real(2.5))]);
        writer.family(&SIZE, &[]);
        writer.end()
    }

    #[test]
    fn both_forms_are_as_their_specifications_want_them() {
        assert_eq!(
            written(Format::OpenMetrics),
            "# HELP x Who.\n# TYPE x info\nx_info{a=\"b\\\"\\\\\\n\"} 1\n\
             # HELP x_calls Calls.\n# TYPE x_calls counter\n\
             x_calls_total{a=\"b\",c=\"d\"} 18446744073709551615\n\
             # HELP x_size_bytes Bytes.\n# TYPE x_size_bytes gauge\n# UNIT x_size_bytes bytes\n\
             x_size_bytes 2.5\n# EOF\n"
        );
        assert_eq!(
            written(Format::Text),
            "# HELP x_info Who.\n# TYPE x_info gauge\nx_info{a=\"b\\\"\\\\\\n\"} 1\n\
             # HELP x_calls_total Calls.\n# TYPE x_calls_total counter\n\
             x_calls_total{a=\"b\",c=\"d\"} 18446744073709551615\n\
             # HELP x_size_bytes Bytes.\n# TYPE x_size_bytes gauge\nx_size_bytes 2.5\n"
        );
        assert_eq!(Value::Real(f64::INFINITY).to_string(), "+Inf");
        assert_eq!(Value::Signed(-3).to_string(), "-3");
    }

    proptest! {
        #[test]
        fn a_label_stays_in_its_quotes_and_comes_back(label in ".{0,40}|[\\\\\"\n]{0,9}") {
            let escaped = Escaped(&label).to_string();
            prop_assert!(!escaped.contains('\n'));
            let mut back = String::new();
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                prop_assert_ne!(c, '"');
                back.push(match c {
                    '\\' => match chars.next().unwrap() {
                        'n' => '\n',
                        c => c,
                    },
                    c => c,
                });
            }
            prop_assert_eq!(back, label);
        }
    }
}
