//! What the account does not have yet, for people.
use super::super::output::{binary, counted};
use super::transfers::Transfer;
use super::{LINES, more};
use crate::control::unsent::WriteFigures;

/// The lines of a page.
pub(super) fn lines(it: &WriteFigures) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(writing) = writing(it) {
        lines.push(("Writing", writing));
    }
    for upload in it.uploads.iter().take(LINES) {
        lines.push(("Upload", Transfer::up(upload).line()));
    }
    lines.extend(more(it.uploading, "uploads"));
    for failure in it.failures.iter().take(LINES) {
        lines.push(("Refused", format!("{}: {}", failure.path, failure.reason)));
    }
    if it.failed > 0 {
        let more = it.failed.saturating_sub(LINES as u64);
        let more = if more > 0 {
            format!("{more} more; ")
        } else {
            String::new()
        };
        let what_to_do =
            "tell it again with `fichierfs retry`, or give it up with `fichierfs discard`";
        lines.push(("", format!("{more}{what_to_do}")));
    }
    if it.staging_bytes > 0 || it.staging_lost > 0 {
        lines.push(("Staging", staging(it)));
    }
    lines
}

fn writing(it: &WriteFigures) -> Option<String> {
    let going = it.waiting.saturating_sub(it.failed);
    let what = match going {
        0 if it.draining => return Some("the mount is gone; its process is about to end".into()),
        0 if it.failed > 0 => return None,
        0 if it.read_only => return Some("nothing, read-only".into()),
        0 => return Some("the account has everything".into()),
        _ => counted(going, "file or folder", "files and folders"),
    };
    let how = if it.read_only {
        " changed by an earlier mount; this one is read-only and tells the account nothing"
    } else if it.draining {
        " left; the mount is gone, and its process goes on for them"
    } else {
        " on their way to the account"
    };
    let bytes = match it.waiting_bytes {
        0 => String::new(),
        bytes => format!(", {} of {} sent", binary(it.sent_bytes), binary(bytes)),
    };
    let speed = match it.bytes_per_second {
        0 => String::new(),
        speed => format!(", {}/s now", binary(speed)),
    };
    Some(format!("{what}{how}{bytes}{speed}"))
}

fn staging(it: &WriteFigures) -> String {
    let lost = match it.staging_lost {
        0 => String::new(),
        lost => format!(
            ", {} set aside after damage (.lost)",
            counted(lost, "file", "files")
        ),
    };
    format!(
        "{} of {}{lost}",
        binary(it.staging_bytes),
        binary(it.staging_budget_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::unsent::{FailedFigures, UploadFigures};

    fn text(it: &WriteFigures) -> String {
        let lines = lines(it).into_iter();
        let lines: Vec<String> = lines
            .map(|(label, text)| format!("{label}|{text}"))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn what_is_under_way_and_what_was_refused_is_told() {
        let it = WriteFigures {
            waiting: 12,
            waiting_bytes: 3 << 20,
            sent_bytes: 1 << 20,
            uploads: vec![
                UploadFigures {
                    path: "a".into(),
                    bytes: 2 << 20,
                    sent_bytes: 1 << 20,
                    bytes_per_second: 1 << 19,
                },
                UploadFigures {
                    path: "b".into(),
                    bytes: 5,
                    sent_bytes: 5,
                    bytes_per_second: 0,
                },
            ],
            uploading: 3,
            bytes_per_second: 3 << 20,
            failed: 10,
            failures: vec![
                FailedFigures {
                    path: "c".into(),
                    reason: "over quota".into(),
                };
                10
            ],
            staging_bytes: 3 << 20,
            staging_budget_bytes: 1 << 30,
            staging_lost: 1,
            ..WriteFigures::default()
        };
        let shown = text(&it);
        for says in [
            "Writing|2 files and folders on their way to the account, 1.0 MiB of 3.0 MiB sent, 3.0 MiB/s now",
            "Upload|a: 50 % of 2.0 MiB, 512.0 KiB/s, 2s left",
            "Upload|b: 5 B sent, to be confirmed",
            "Refused|c: over quota",
            "|2 more; tell it again",
            "Staging|3.0 MiB of 1.0 GiB, 1 file set aside",
        ] {
            assert!(shown.contains(says), "{says}: {shown}");
        }
        assert_eq!(shown.matches("Refused|").count(), LINES);
    }

    #[test]
    fn a_mount_that_tells_nothing_or_is_gone_says_so() {
        let mut it = WriteFigures::default();
        assert_eq!(text(&it), "Writing|the account has everything");
        it.waiting = 1;
        it.read_only = true;
        assert!(text(&it).contains("1 file or folder changed by an earlier mount"));
        it.read_only = false;
        it.draining = true;
        assert!(text(&it).contains("the mount is gone"));
        it.failed = 1;
        assert!(text(&it).contains("about to end"));
    }
}
