//! Dates as the service writes them: `YYYY-MM-DD HH:MM:SS` in French legal time (API reference 4.2).
//!
//! Written from the rule of the European Union (directive 2000/84/EC): summer time, UTC+2, runs from the last
//! Sunday of March 01:00 UTC to the last Sunday of October 01:00 UTC; UTC+1 otherwise. Knows no other zone.

/// Seconds per day.
const DAY: i64 = 86_400;

/// Formats UNIX seconds as the service does.
pub fn format(unix: i64) -> String {
    let local = unix + offset(unix);
    let (year, month, day) = civil(local.div_euclid(DAY));
    let second = local.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Reads a date of the service; `None` when it is not one.
///
/// The hour that exists twice in autumn means its first occurrence; a time that spring skips means one hour later.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 19
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b' '
        && bytes[13] == b':'
        && bytes[16] == b':';
    if !shape {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = &bytes[from..to];
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23
        || minute > 59
        || second > 59
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    // The larger offset first: it is the first occurrence of a repeated hour.
    [7200, 3600]
        .into_iter()
        .map(|shift| local - shift)
        .find(|unix| unix + offset(*unix) == local)
        .or(Some(local - 3600))
}

/// Seconds east of UTC at a moment.
fn offset(unix: i64) -> i64 {
    let (year, ..) = civil(unix.div_euclid(DAY));
    let start = last_sunday(year, 3) * DAY + 3600;
    let end = last_sunday(year, 10) * DAY + 3600;
    if (start..end).contains(&unix) {
        7200
    } else {
        3600
    }
}

/// Day number of the last Sunday of a month with 31 days.
fn last_sunday(year: i64, month: i64) -> i64 {
    let last = days_from_civil(year, month, 31);
    // Day 0, 1970-01-01, was a Thursday; Sunday is weekday 0.
    last - (last + 4).rem_euclid(7)
}

/// Day number since 1970-01-01 of a date in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Date of a day number since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spring_switch() {
        // 2026-03-29 01:00:00 UTC.
        let switch = 1_774_746_000;
        assert_eq!(format(switch - 1), "2026-03-29 01:59:59");
        assert_eq!(format(switch), "2026-03-29 03:00:00");
        assert_eq!(parse("2026-03-29 01:59:59"), Some(switch - 1));
        assert_eq!(parse("2026-03-29 03:00:00"), Some(switch));
        assert_eq!(parse("2026-03-29 02:30:00"), Some(switch + 1800));
    }

    #[test]
    fn autumn_switch_and_its_fold() {
        // 2026-10-25 01:00:00 UTC.
        let switch = 1_792_890_000;
        assert_eq!(format(switch - 1), "2026-10-25 02:59:59");
        assert_eq!(format(switch), "2026-10-25 02:00:00");
        assert_eq!(parse("2026-10-25 02:30:00"), Some(switch - 1800));
        assert_eq!(parse("2026-10-25 03:00:00"), Some(switch + 3600));
    }

    #[test]
    fn winter_and_summer() {
        assert_eq!(format(0), "1970-01-01 01:00:00");
        assert_eq!(format(1_624_453_045), "2021-06-23 14:57:25");
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "2026-02-29 00:00:00",
            "2026-13-01 00:00:00",
            "2026-01-01T00:00:00",
            "2026-01-01 24:00:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same_text(unix in 0_i64..4_000_000_000) {
            let text = format(unix);
            let back = parse(&text).expect("our own format");
            prop_assert_eq!(format(back), text);
            prop_assert!(back == unix || back == unix - 3600);
        }
    }
}
