//! How many calls were made in the last hour and the last day, whoever made them: for people, nothing is
//! decided by it. Bounded: a count per five minutes of a day.
use crate::util::clock::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// What one count covers. What began before the hour and ends in it counts as of it.
const CELL: Duration = Duration::from_secs(5 * 60);

/// Cells of an hour and of a day.
const HOUR: u64 = 12;
const DAY: u64 = 24 * HOUR;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The number of each cell with calls in it and their count, the oldest first.
    cells: VecDeque<(u64, u64)>,
}

fn cell(now: Moment) -> u64 {
    now.since(Moment::from_origin(Duration::ZERO)).as_secs() / CELL.as_secs()
}

impl Usage {
    /// A call starts.
    pub(super) fn note(&mut self, now: Moment) {
        let now = cell(now);
        self.cells.retain(|(cell, _)| cell + DAY >= now);
        match self.cells.back_mut() {
            Some((cell, count)) if *cell == now => *count += 1,
            _ => self.cells.push_back((now, 1)),
        }
    }

    /// Calls of the last hour.
    pub(super) fn last_hour(&self, now: Moment) -> u64 {
        self.of_last(HOUR, now)
    }

    /// Calls of the last day.
    pub(super) fn last_day(&self, now: Moment) -> u64 {
        self.of_last(DAY, now)
    }

    fn of_last(&self, cells: u64, now: Moment) -> u64 {
        let now = cell(now);
        let recent = self.cells.iter().filter(|(cell, _)| cell + cells >= now);
        // A damaged record may hold any count.
        recent.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    /// For keeping: how many seconds ago a cell began, and its count.
    pub(super) fn ages(&self, now: Moment) -> Vec<(u64, u64)> {
        let now = cell(now);
        let ages = self.cells.iter();
        ages.map(|(cell, count)| (now.saturating_sub(*cell) * CELL.as_secs(), *count))
            .collect()
    }

    /// What was kept, `later` after it was.
    pub(super) fn of_ages(ages: &[(u64, u64)], later: Duration, now: Moment) -> Self {
        let now = cell(now);
        let cells = ages.iter().filter_map(|(age, count)| {
            let passed = age.saturating_add(later.as_secs()) / CELL.as_secs();
            (passed <= DAY).then(|| (now.saturating_sub(passed), *count))
        });
        // A damaged record must not make it larger, nor mix up its order.
        let mut cells: Vec<(u64, u64)> = cells.collect();
        cells.sort_unstable();
        cells.dedup_by_key(|(cell, _)| *cell);
        Self {
            cells: cells.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(1_000_000_000 + seconds))
    }

    #[test]
    fn an_hour_and_a_day_are_forgotten_in_their_time() {
        let mut usage = Usage::default();
        for minute in 0..60 {
            usage.note(at(minute * 60));
        }
        let now = at(59 * 60);
        assert_eq!((usage.last_hour(now), usage.last_day(now)), (60, 60));
        let later = at(3 * 3600);
        assert_eq!((usage.last_hour(later), usage.last_day(later)), (0, 60));
        assert_eq!(usage.last_day(at(26 * 3600)), 0);
        let kept = Usage::of_ages(&usage.ages(now), Duration::from_secs(7200), later);
        assert_eq!((kept.last_hour(later), kept.last_day(later)), (0, 60));
    }

    proptest! {
        #[test]
        fn it_stays_small_and_what_is_kept_comes_back(
            pauses in prop::collection::vec(0u64..40_000, 0..400),
            damaged in prop::collection::vec((any::<u64>(), 0u64..1_000_000), 0..400)
        ) {
            let (mut usage, mut now) = (Usage::default(), 0);
            for pause in pauses {
                now += pause;
                usage.note(at(now));
            }
            prop_assert!(usage.cells.len() as u64 <= DAY + 1);
            prop_assert!(usage.last_hour(at(now)) <= usage.last_day(at(now)));
            let kept = Usage::of_ages(&usage.ages(at(now)), Duration::ZERO, at(now));
            prop_assert_eq!(kept, usage);
            let odd = Usage::of_ages(&damaged, Duration::from_secs(u64::MAX), at(now));
            prop_assert!(odd.cells.is_empty());
            prop_assert!(Usage::of_ages(&damaged, Duration::ZERO, at(now)).cells.len() as u64 <= DAY + 1);
        }
    }
}
