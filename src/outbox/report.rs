//! Which uploaded file is which.
//!
//! An upload takes many files at once, and its report lists links in an order nobody promises, under
//! names the service may have changed, now and then one too few or too many (API reference 6). So a
//! link is matched to a file by size and hash, then by name, never by its place. Pure.
use crate::api::{UploadedFile, Whirlpool};

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The name it was sent under.
    pub name: Box<str>,
    /// Bytes sent.
    pub size: u64,
    /// Hash of what was sent.
    pub whirlpool: Whirlpool,
}

/// What the report says of one file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored as sent, under the name sent or, when the service changed it, another.
    Stored(UploadedFile),
    /// Stored under its name, but not what was sent: must be sent again, and this link removed.
    Damaged(UploadedFile),
    /// Not in the report: it may be stored all the same. Look before sending it again.
    Unknown,
}

/// When a link belongs to a file, and what that means.
type Rule = (
    fn(&Sent, &UploadedFile) -> bool,
    fn(UploadedFile) -> Outcome,
);

/// Sure matches before likely ones: of two equal files each gets the link of its name.
const RULES: [Rule; 3] = [
    (
        |sent, link| is_content(sent, link) && sent.name == link.name,
        Outcome::Stored,
    ),
    (is_content, Outcome::Stored),
    (|sent, link| sent.name == link.name, Outcome::Damaged),
];

/// Matches a report to what was sent: one outcome per file, in the order sent, and the links that
/// belong to none of them.
pub fn read(sent: &[Sent], reported: Vec<UploadedFile>) -> (Vec<Outcome>, Vec<UploadedFile>) {
    let mut left: Vec<Option<UploadedFile>> = reported.into_iter().map(Some).collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; sent.len()];
    for (matches, outcome) in RULES {
        for (file, found) in sent.iter().zip(&mut outcomes) {
            if found.is_some() {
                continue;
            }
            let link = left
                .iter_mut()
                .find(|link| link.as_ref().is_some_and(|it| matches(file, it)));
            *found = link.and_then(Option::take).map(outcome);
        }
    }
    let outcomes = outcomes
        .into_iter()
        .map(|found| found.unwrap_or(Outcome::Unknown))
        .collect();
    (outcomes, left.into_iter().flatten().collect())
}

/// Whether the link holds exactly what was sent. A report that does not say is no proof.
fn is_content(sent: &Sent, link: &UploadedFile) -> bool {
    link.size == Some(sent.size) && link.whirlpool == Some(sent.whirlpool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FileUrl;
    use proptest::prelude::*;

    fn hash(content: u8) -> Whirlpool {
        Whirlpool([content; 64])
    }

    fn sent(name: &str, content: u8) -> Sent {
        Sent {
            name: name.into(),
            size: u64::from(content),
            whirlpool: hash(content),
        }
    }

    fn link(id: usize, name: &str, content: u8) -> UploadedFile {
        UploadedFile {
            url: FileUrl::parse(&format!("https://1fichier.com/?link{id:04}")).unwrap(),
            name: name.into(),
            size: Some(u64::from(content)),
            whirlpool: Some(hash(content)),
        }
    }

    #[test]
    fn links_are_matched_whatever_their_order_and_name() {
        let files = [sent("a", 1), sent("b", 2), sent("c $", 3)];
        let links = vec![link(3, "c _", 3), link(2, "b", 2), link(1, "a", 1)];
        let (outcomes, surplus) = read(&files, links);
        let stored = |id, name, content| Outcome::Stored(link(id, name, content));
        assert_eq!(
            outcomes,
            [stored(1, "a", 1), stored(2, "b", 2), stored(3, "c _", 3)]
        );
        assert!(surplus.is_empty());
    }

    #[test]
    fn a_missing_link_is_unknown_a_wrong_one_damaged_a_foreign_one_surplus() {
        let files = [sent("a", 1), sent("b", 2), sent("c", 3)];
        let links = vec![link(1, "a", 1), link(2, "b", 9), link(4, "foreign", 7)];
        let (outcomes, surplus) = read(&files, links);
        assert_eq!(outcomes[1], Outcome::Damaged(link(2, "b", 9)));
        assert_eq!(outcomes[2], Outcome::Unknown);
        assert_eq!(surplus, [link(4, "foreign", 7)]);
    }

    #[test]
    fn a_report_that_does_not_say_is_no_proof() {
        let silent = UploadedFile {
            whirlpool: None,
            ..link(1, "a", 1)
        };
        let (outcomes, _) = read(&[sent("a", 1)], vec![silent.clone()]);
        assert_eq!(outcomes, [Outcome::Damaged(silent)]);
    }

    proptest! {
        /// No link is given out twice or lost, and "stored" always means the same bytes.
        #[test]
        fn every_link_goes_to_one_place(
            files in prop::collection::vec(("[ab]", 1u8..4), 0..6),
            links in prop::collection::vec(("[ab]", 1u8..4), 0..8),
        ) {
            let files: Vec<_> = files.iter().map(|(name, content)| sent(name, *content)).collect();
            let links: Vec<_> = links
                .iter()
                .enumerate()
                .map(|(id, (name, content))| link(id, name, *content))
                .collect();
            let (outcomes, surplus) = read(&files, links.clone());
            let mut seen: Vec<String> = surplus.iter().map(|link| link.url.to_string()).collect();
            for (file, outcome) in files.iter().zip(&outcomes) {
                match outcome {
                    Outcome::Stored(link) => {
                        prop_assert!(is_content(file, link));
                        seen.push(link.url.to_string());
                    }
                    Outcome::Damaged(link) => {
                        prop_assert_eq!(&file.name, &link.name);
                        seen.push(link.url.to_string());
                    }
                    Outcome::Unknown => {
                        prop_assert!(!surplus.iter().any(|link| is_content(file, link)));
                    }
                }
            }
            seen.sort();
            let mut all: Vec<String> = links.iter().map(|link| link.url.to_string()).collect();
            all.sort();
            prop_assert_eq!(seen, all);
        }
    }
}
