//! The service's dates: `YYYY-MM-DD HH:MM:SS`, French legal time with daylight saving (API
//! reference 4.2). The zone's rules are compiled in, so nothing of the system is read.
//!
//! Promises: what is no date is `None`, never a wrong time; the hour repeated in autumn means its
//! first occurrence (UTC+2); an hour skipped in spring is shifted forward.
use super::types::UnixSeconds;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

static PARIS: TimeZone = jiff::tz::get!("Europe/Paris");

/// Characters of a date: nothing is padded, nothing is optional.
const DATE_CHARS: usize = 19;

/// Unix time of a date as the service writes it.
pub fn parse(text: &str) -> Option<UnixSeconds> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == DATE_CHARS
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b' ',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    let field = |from: usize, to: usize| text[from..to].parse::<i16>().ok();
    let small = |from: usize, to: usize| text[from..to].parse::<i8>().ok();
    let date = DateTime::new(
        field(0, 4)?,
        small(5, 7)?,
        small(8, 10)?,
        small(11, 13)?,
        small(14, 16)?,
        small(17, 19)?,
        0,
    )
    .ok()?;
    let moment = PARIS.to_ambiguous_timestamp(date).compatible().ok()?;
    Some(moment.as_second())
}

/// The date the service writes for a Unix time; `None` outside the years 0 to 9999.
pub fn format(at: UnixSeconds) -> Option<String> {
    let date = PARIS.to_datetime(Timestamp::from_second(at).ok()?);
    (0..=9999).contains(&date.year()).then(|| {
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            date.hour(),
            date.minute(),
            date.second()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn winter_summer_fold_and_gap() {
        // 2021-06-10 14:57:25 in Paris was 12:57:25 UTC (API reference 4.2).
        assert_eq!(parse("2021-06-10 14:57:25"), Some(1_623_329_845));
        assert_eq!(parse("2025-02-03 10:11:12"), Some(1_738_573_872));
        // Repeated hour: the first occurrence, UTC+2.
        assert_eq!(parse("2025-10-26 02:30:00"), Some(1_761_438_600));
        // Skipped hour: an hour later by the wall.
        assert_eq!(parse("2025-03-30 02:30:00"), parse("2025-03-30 03:30:00"));
        assert_eq!(format(1_761_438_600 + 3600).unwrap(), "2025-10-26 02:30:00");
    }

    #[test]
    fn junk_is_no_date() {
        for bad in [
            "",
            "0000-00-00 00:00:00",
            "2025-02-30 00:00:00",
            "2025-2-3 10:11:12",
            "2025-02-03T10:11:12",
            "2025-02-03 24:00:00",
            "2025-02-03 10:11:12Z",
            "+025-02-03 10:11:12",
            "２０２５-02-03",
            "ééééééééé1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(at in 0i64..7_000_000_000) {
            let back = parse(&format(at).unwrap()).unwrap();
            // Only the second pass through the repeated hour cannot be told from the first.
            prop_assert!(back == at || back == at - 3600, "{at} {back}");
            prop_assert_eq!(format(back), format(at));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}", bytes in prop::collection::vec(any::<u8>(), 19)) {
            parse(&text);
            parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_number_panics(at in any::<i64>()) {
            format(at);
        }
    }
}
