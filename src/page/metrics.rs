//! The mount's metrics: what one is, how all are written, and the reference of them (`list` names them).
//!
//! Promises: names, labels and meanings stay; no label has more values than this program knows, so that no
//! number of files or folders makes more of them. `docs/metrics.md` is printed from here.
mod list;

use super::exposition::{Family, Format, Kind, Sample, Writer};
use crate::control::Status;
use list::METRICS;
use std::fmt::Write as _;

/// A family with where its samples come from.
struct Metric {
    family: Family,
    /// Its labels.
    labels: &'static [&'static str],
    read: fn(&Status) -> Vec<Sample>,
}

const fn metric(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Status) -> Vec<Sample>,
) -> Metric {
    let family = Family {
        name,
        kind,
        unit,
        help,
    };
    Metric {
        family,
        labels,
        read,
    }
}

/// The metrics of a mount.
pub(super) fn text(status: &Status, format: Format) -> String {
    let mut writer = Writer::new(format);
    for metric in METRICS {
        writer.family(&metric.family, &(metric.read)(status));
    }
    writer.end()
}

/// What stands before the table in `docs/metrics.md`.
const HEAD: &str = include_str!("metrics_head.md");

/// The reference of the metrics. A test compares it with `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| name | type | labels | meaning |\n|---|---|---|---|\n");
    for Metric { family, labels, .. } in METRICS {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}{}` | {} | {} | {} |",
            family.name,
            family.kind.suffix(),
            family.kind.name(Format::OpenMetrics),
            labels.join(", "),
            family.help
        );
    }
    page
}

#[cfg(test)]
pub(super) mod tests;
