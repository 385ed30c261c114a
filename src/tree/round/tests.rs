//! A round against a made-up service of any kind: cut or refusing, bounds included or not, a cap
//! lower than documented, an honest count or none.
use super::*;
use crate::api::{FileUrl, FolderId, SentSpan};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// Nothing in the folder is newer.
const NOW: UnixSeconds = 1_760_000_000;

/// Calls a round may take at most here, before it counts as endless.
const PATIENCE: usize = 4_000;

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing not known of the service"
)]
struct Service {
    /// How many files were uploaded when.
    dates: BTreeMap<UnixSeconds, usize>,
    cap: usize,
    refuses: bool,
    after_included: bool,
    before_included: bool,
    counts: bool,
    /// Files the count has too many.
    phantoms: u64,
    /// What it shows of too many differs from answer to answer.
    moody: bool,
    seed: u64,
}

fn file(date: UnixSeconds, number: usize) -> FileItem {
    let id = FileId::parse(&format!("{date:012}{number:08}")).unwrap();
    FileItem {
        url: FileUrl::of(id),
        name: "x".into(),
        size: 1,
        uploaded: Some(date),
        whirlpool: None,
        content_type: None,
        password: false,
        access_list: false,
    }
}

impl Service {
    fn total(&self) -> usize {
        self.dates.values().sum()
    }

    fn head(&self) -> FolderListing {
        FolderListing {
            folder: FolderId(7),
            name: "seven".into(),
            created: None,
            file_count: self.counts.then(|| self.total() as u64 + self.phantoms),
            folders: Vec::new(),
            files: Vec::new(),
        }
    }

    fn files(&mut self, span: SentSpan) -> Option<Vec<FileItem>> {
        let after = |date: UnixSeconds| {
            span.after
                .is_none_or(|at| date > at || (self.after_included && date == at))
        };
        let before = |date: UnixSeconds| {
            span.before
                .is_none_or(|at| date < at || (self.before_included && date == at))
        };
        let mut files: Vec<FileItem> = self
            .dates
            .iter()
            .filter(|(date, _)| after(**date) && before(**date))
            .flat_map(|(date, count)| (0..*count).map(|number| file(*date, number)))
            .collect();
        if files.len() > self.cap {
            if self.refuses {
                return None;
            }
            if self.moody {
                self.seed = self
                    .seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
            }
            let turn = usize::try_from(self.seed >> 33).unwrap() % files.len();
            files.rotate_left(turn);
            files.truncate(self.cap);
        }
        Some(files)
    }

    /// Runs a round to its end; what came out, and how many calls it took.
    fn round(&mut self) -> (FolderListing, bool, usize) {
        let everything = SentSpan::default();
        let mut cut = None;
        if let Some(files) = self.files(everything) {
            let mut head = self.head();
            head.files = files;
            cut = Some(head);
        }
        let mut round = Round::new(cut, Vec::new(), NOW);
        for calls in 1..PATIENCE {
            match round.next() {
                Step::Head => round.take_head(self.head()),
                Step::Slice(slice) => {
                    let files = self.files(slice.sent());
                    let count = files.as_ref().map(|files| files.len() as u64);
                    round.take_slice(files.map(|files| FileListing { count, files }));
                }
                Step::Done => {
                    let (listing, is_whole) = round.finish().unwrap();
                    return (listing, is_whole, calls);
                }
            }
        }
        panic!("no end");
    }

    /// Most files within three neighbouring seconds.
    fn densest(&self) -> usize {
        let around =
            |date: &UnixSeconds| self.dates.range(date - 1..=date + 1).map(|(_, n)| n).sum();
        self.dates.keys().map(around).max().unwrap_or(0)
    }
}

/// Dates that crowd: a few moments, each with files in the seconds and days around it.
fn service(most_a_second: usize) -> impl Strategy<Value = Service> {
    let moment = (
        1_300_000_000..NOW,
        prop::sample::select(vec![1i64, 60, 86_400]),
    );
    let crowd = (
        moment,
        prop::collection::vec((0i64..40, 1..=most_a_second), 0..30),
    );
    let dates = prop::collection::vec(crowd, 0..5).prop_map(|crowds| {
        let mut dates = BTreeMap::new();
        for ((start, step), files) in crowds {
            for (at, count) in files {
                dates.insert((start + at * step).min(NOW), count);
            }
        }
        dates
    });
    let switches = any::<(bool, bool, bool, bool, u64)>();
    (dates, switches).prop_map(
        |(dates, (refuses, after_included, before_included, moody, seed))| Service {
            dates,
            cap: LISTING_CAP,
            refuses,
            after_included,
            before_included,
            counts: true,
            phantoms: 0,
            moody,
            seed,
        },
    )
}

fn distinct(listing: &FolderListing) -> usize {
    let ids: HashSet<FileId> = listing.files.iter().map(|file| file.url.id()).collect();
    assert_eq!(ids.len(), listing.files.len());
    ids.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_file_is_found_whatever_the_service_is_like(
        mut service in service(700),
        counts: bool,
    ) {
        service.counts = counts;
        prop_assume!(service.densest() < LISTING_CAP);
        let (listing, is_whole, _) = service.round();
        prop_assert!(is_whole);
        prop_assert_eq!(distinct(&listing), service.total());
    }

    #[test]
    fn a_lower_cap_than_documented_is_found_out(
        mut service in service(30),
        cap in 100usize..900,
    ) {
        service.cap = cap;
        service.refuses = false;
        let (listing, is_whole, _) = service.round();
        prop_assert!(is_whole);
        prop_assert_eq!(distinct(&listing), service.total());
    }

    #[test]
    fn what_is_not_all_never_passes_for_it(
        mut service in service(400),
        cap in prop_oneof![30usize..1_000, 4_000usize..6_000],
    ) {
        service.cap = cap;
        let (listing, is_whole, _) = service.round();
        let found = distinct(&listing);
        prop_assert!(!is_whole || found == service.total(), "{found} of {}", service.total());
    }

    #[test]
    fn a_count_of_files_nobody_can_see_ends_in_a_part(
        mut service in service(700),
        phantoms in 1u64..20,
    ) {
        service.phantoms = phantoms;
        service.refuses = false;
        let (listing, is_whole, calls) = service.round();
        prop_assert!(!is_whole);
        if service.densest() < LISTING_CAP {
            prop_assert_eq!(distinct(&listing), service.total());
        }
        prop_assert!(calls < 60, "{calls} calls");
    }
}

#[test]
fn twelve_thousand_files_take_a_handful_of_slices() {
    let mut service = Service {
        dates: (0..12_000)
            .map(|at| (NOW - 1_000_000 + at * 77, 1))
            .collect(),
        cap: LISTING_CAP,
        refuses: false,
        after_included: false,
        before_included: false,
        counts: true,
        phantoms: 0,
        moody: true,
        seed: 5,
    };
    let (listing, is_whole, calls) = service.round();
    assert!(is_whole);
    assert_eq!(distinct(&listing), 12_000);
    // An answer that is cut shows the newest ones only, say: the slices cannot be planned evenly.
    assert!(calls <= 6, "{calls} calls");
}

#[test]
fn neighbouring_seconds_of_many_files_are_told_apart_when_bounds_are_included() {
    let mut service = Service {
        dates: (0..5).map(|at| (NOW - at, 2_400)).collect(),
        cap: LISTING_CAP,
        refuses: false,
        after_included: true,
        before_included: true,
        counts: true,
        phantoms: 0,
        moody: true,
        seed: 5,
    };
    let (listing, is_whole, _) = service.round();
    assert!(is_whole);
    assert_eq!(distinct(&listing), 12_000);
}

#[test]
fn a_second_of_too_many_files_makes_a_part() {
    for refuses in [false, true] {
        let mut service = Service {
            dates: BTreeMap::from([(NOW - 500, 6_000), (NOW - 10, 300), (NOW - 900, 300)]),
            cap: LISTING_CAP,
            refuses,
            after_included: false,
            before_included: false,
            counts: true,
            phantoms: 0,
            moody: false,
            seed: 5,
        };
        let (listing, is_whole, _) = service.round();
        assert!(!is_whole);
        let others = listing
            .files
            .iter()
            .filter(|file| file.uploaded != Some(NOW - 500));
        assert_eq!(others.count(), 600);
        assert_eq!(distinct(&listing) >= 5_600, !refuses);
    }
}

#[test]
fn a_file_removed_meanwhile_does_not_make_a_part() {
    let service = Service {
        dates: (0..8_000)
            .map(|at| (NOW - 1_000_000 + at * 77, 1))
            .collect(),
        cap: LISTING_CAP,
        refuses: false,
        after_included: false,
        before_included: false,
        counts: true,
        phantoms: 0,
        moody: true,
        seed: 5,
    };
    let mut after = service.clone();
    let mut round = Round::new(Some(service.head()), Vec::new(), NOW);
    after.dates.pop_first();
    loop {
        match round.next() {
            Step::Head => round.take_head(after.head()),
            Step::Slice(slice) => {
                let files = after.files(slice.sent()).unwrap();
                let count = Some(files.len() as u64);
                round.take_slice(Some(FileListing { count, files }));
            }
            Step::Done => break,
        }
    }
    let (listing, is_whole) = round.finish().unwrap();
    assert!(is_whole);
    assert_eq!(listing.files.len(), 7_999);
}
