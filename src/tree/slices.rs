//! How a folder that holds more than one listing shows is cut into slices of upload dates.
//!
//! Promises: the slices cover all dates; each is asked for until the service shows it whole, or
//! until it is a single second that cannot be cut any further; whatever an answer says, the plan
//! comes to an end. Pure: no clock, no lock, no call, no file.
//!
//! Whether a bound belongs to a span is not documented (API reference 5.5), so spans are asked for
//! with a second more at either end; whoever collects the files tells them apart by their URL.
use crate::api::{SentSpan, UnixSeconds};

/// Where halving by time begins when nothing is known of the dates: 1 January 2009, the year the
/// service began.
const FIRST_DATE: UnixSeconds = 1_230_764_800;

/// A cap lower than documented is believed from here on: lower ones make no sense for a listing.
const LEAST_CAP: usize = 100;

/// Refusals in a row after which halving is given up: more halvings than there are between a lifetime
/// and a second, so that the refusals have another cause than the number of files.
const REFUSALS: u32 = 40;

/// A slice is planned for that share of what a listing shows, in percent, so that it is not cut
/// because the dates known are not quite those of all.
const FILLED: u64 = 80;

/// Seconds of upload dates, both ends included; an open end has no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    from: Option<UnixSeconds>,
    to: Option<UnixSeconds>,
    /// Asked for by its very bounds, since the service is seen to include them.
    tight: bool,
}

/// What the service showed of a slice.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// All of it: that many files.
    Whole(usize),
    /// Too many: files of these dates, in any order.
    Cut(Vec<UnixSeconds>),
    /// Too many, and none of them.
    Refused,
}

/// The slices of one folder: those to ask for and those that are known.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// To ask for, the newest last.
    todo: Vec<Slice>,
    /// Shown whole, with the files they had.
    done: Vec<(Slice, usize)>,
    /// Files an answer holds at most.
    cap: usize,
    /// Nothing is newer, for halving by time.
    latest: UnixSeconds,
    /// Refusals since a slice was shown.
    refusals: u32,
    /// A second could not be shown whole.
    hopeless: bool,
}

impl Slice {
    /// The bounds to ask for.
    pub(super) fn sent(&self) -> SentSpan {
        let margin = i64::from(!self.tight);
        SentSpan {
            after: self.from.map(|at| at.saturating_sub(margin)),
            before: self.to.map(|at| at.saturating_add(margin)),
        }
    }

    /// The one second it is, if it is asked for by its very bounds: the answer then shows nothing
    /// at all when the service does not include them.
    pub(super) fn tight_second(&self) -> Option<UnixSeconds> {
        self.from.filter(|_| self.tight)
    }

    /// Whether a date lies in it.
    pub(super) fn holds(&self, date: UnixSeconds) -> bool {
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }

    fn second(&self) -> Option<UnixSeconds> {
        self.from.filter(|_| self.from == self.to)
    }
}

impl Plan {
    /// A plan for a folder of about `count` files, some of which have the dates `known`, when an
    /// answer holds `cap` files at most. Nothing is much newer than `now`.
    pub(super) fn new(
        known: &mut [UnixSeconds],
        count: Option<u64>,
        now: UnixSeconds,
        cap: usize,
    ) -> Self {
        const DAY: UnixSeconds = 24 * 60 * 60;
        known.sort_unstable();
        let filled = (cap as u64 * FILLED / 100).max(1);
        // Whatever the service counts: there are no more places to cut at than dates known.
        let most = u64::try_from(known.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let parts = count
            .map_or(2, |count| count.div_ceil(filled))
            .clamp(1, most);
        let mut plan = Self {
            todo: Vec::new(),
            done: Vec::new(),
            cap,
            latest: now.saturating_add(DAY),
            refusals: 0,
            hopeless: false,
        };
        let mut from = None;
        for part in 1..parts {
            let at = (most - 1) * part / parts;
            let Some(&to) = usize::try_from(at).ok().and_then(|at| known.get(at)) else {
                break;
            };
            if from.is_none_or(|from| from <= to) {
                plan.todo.push(Slice {
                    from,
                    to: Some(to),
                    tight: false,
                });
                from = Some(to.saturating_add(1));
            }
        }
        plan.todo.push(Slice {
            from,
            to: None,
            tight: false,
        });
        plan
    }

    /// The slice to ask for next, the newest first; `None` when all have been shown.
    pub(super) fn next(&self) -> Option<Slice> {
        self.todo.last().copied()
    }

    /// Files an answer holds at most.
    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    /// Whether files are missing for good: a second holds more than can be shown.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Files are missing, and no slice would show them.
    pub(super) fn give_up(&mut self) {
        self.hopeless = true;
    }

    /// Slices known, and slices to ask for as far as is known now.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.done.len(), self.todo.len())
    }

    /// Takes in what was shown of the slice that [`Plan::next`] named.
    pub(super) fn take(&mut self, shown: Shown) {
        let Some(slice) = self.todo.pop() else {
            return;
        };
        let mut dates = match shown {
            Shown::Whole(files) => {
                self.refusals = 0;
                return self.done.push((slice, files));
            }
            Shown::Cut(dates) => {
                self.refusals = 0;
                dates
            }
            Shown::Refused => {
                self.refusals += 1;
                if self.refusals > REFUSALS {
                    self.todo.clear();
                    return self.hopeless = true;
                }
                Vec::new()
            }
        };
        let Some(second) = slice.second() else {
            return self.cut(slice, &mut dates);
        };
        // The seconds beside it were shown too, or may have been: without them it may fit.
        let has_margin = !slice.tight
            && (dates.is_empty()
                || dates.contains(&second.saturating_sub(1))
                || dates.contains(&second.saturating_add(1)));
        if has_margin {
            self.todo.push(Slice {
                tight: true,
                ..slice
            });
        } else {
            self.hopeless = true;
        }
    }

    /// More files exist than were shown: the answers with the most files were cut without a sign of
    /// it. Plans to ask again for what they showed, in halves; `known` are the dates of all files
    /// found. Whether there is something to ask again.
    pub(super) fn doubt(&mut self, known: &[UnixSeconds]) -> bool {
        let most = self.done.iter().map(|(_, files)| *files).max();
        let Some(most) = most.filter(|most| *most >= LEAST_CAP) else {
            return false;
        };
        self.cap = self.cap.min(most);
        let done = std::mem::take(&mut self.done);
        for (slice, files) in done {
            if files < most {
                self.done.push((slice, files));
            } else if slice.second().is_some() {
                self.hopeless = true;
            } else {
                self.cut(slice, &mut known.to_vec());
            }
        }
        !self.todo.is_empty()
    }

    /// Plans a slice of more than one second as two, each with half of the files of these dates.
    fn cut(&mut self, slice: Slice, dates: &mut Vec<UnixSeconds>) {
        let beyond = |end: Option<UnixSeconds>, by| {
            end.filter(|end| dates.contains(&end.saturating_add(by)))
        };
        // When all there is to see lies beside it, that end is set apart.
        let (crowd_after, crowd_before) = (beyond(slice.to, 1), beyond(slice.from, -1));
        dates.retain(|date| slice.holds(*date));
        dates.sort_unstable();
        let middle = dates.get(dates.len() / 2).copied();
        let middle = middle
            .or(crowd_after)
            .or(crowd_before)
            .or_else(|| self.middle(slice));
        let Some(middle) = middle else {
            return self.hopeless = true;
        };
        let at = slice
            .to
            .map_or(middle, |to| middle.min(to.saturating_sub(1)));
        let (older, newer) = (
            Slice {
                to: Some(at),
                ..slice
            },
            Slice {
                from: Some(at.saturating_add(1)),
                ..slice
            },
        );
        self.todo.extend([older, newer]);
    }

    /// The middle of a slice in time; `None` when it is open towards where no dates are.
    fn middle(&self, slice: Slice) -> Option<UnixSeconds> {
        let from = slice.from.unwrap_or(FIRST_DATE);
        let to = slice.to.unwrap_or(self.latest);
        (from < to).then(|| from + (to - from) / 2)
    }
}
