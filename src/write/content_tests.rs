//! A content against a plain array of bytes.
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Bytes of the one file of the account.
const REMOTE: u64 = 40;
/// Offsets and lengths stay in this.
const SPACE: u64 = 64;

fn origin() -> Origin {
    Origin {
        url: FileUrl::parse("https://1fichier.com/?aaaabbbbccccddddeeee").unwrap(),
        size: REMOTE,
    }
}

fn remote_byte(at: u64) -> u8 {
    200 + u8::try_from(at).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        at: u64,
        len: u64,
        byte: u8,
    },
    Resize(u64),
    Punch {
        at: u64,
        len: u64,
    },
    /// Seals the version: what is written from now on goes to another staging file.
    Seal,
    /// Copies a range of the content onto another place of itself.
    Copy {
        from: u64,
        len: u64,
        to: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..SPACE, 0..20u64, 1..100u8).prop_map(|(at, len, byte)| Step::Write { at, len, byte }),
        (0..SPACE).prop_map(Step::Resize),
        (0..SPACE, 0..20u64).prop_map(|(at, len)| Step::Punch { at, len }),
        Just(Step::Seal),
        (0..SPACE, 0..20u64, 0..SPACE).prop_map(|(from, len, to)| Step::Copy { from, len, to }),
    ];
    prop::collection::vec(step, 0..40)
}

/// A content with the staging files it writes to.
struct Staged {
    content: Content,
    stages: HashMap<u64, Vec<u8>>,
    stage: u64,
}

impl Staged {
    fn bytes(&self, content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in content.pieces(0..u64::MAX) {
            assert_eq!(bytes.len() as u64, piece.range.start, "no gaps");
            let length = usize::try_from(piece.range.end - piece.range.start).unwrap();
            match piece.from {
                None => bytes.resize(bytes.len() + length, 0),
                Some((Source::Staged(stage), at)) => {
                    let at = usize::try_from(at).unwrap();
                    bytes.extend_from_slice(&self.stages[&stage][at..at + length]);
                }
                Some((Source::Remote(_), at)) => {
                    bytes.extend((at..at + length as u64).map(remote_byte));
                }
            }
        }
        bytes
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        let file = self.stages.entry(self.stage).or_default();
        let start = usize::try_from(at).unwrap();
        let end = start + data.len();
        file.resize(file.len().max(end), 0);
        file[start..end].copy_from_slice(data);
        self.content.written(at..at + data.len() as u64, self.stage);
    }
}

fn resized(model: &mut Vec<u8>, size: u64) {
    model.resize(usize::try_from(size).unwrap(), 0);
}

proptest! {
    /// Whatever is done to it, a content holds what a plain file would, and so does every version
    /// that was sealed on the way.
    #[test]
    fn a_content_is_a_file(steps in steps(), is_new: bool) {
        let mut model: Vec<u8> = if is_new { Vec::new() } else { (0..REMOTE).map(remote_byte).collect() };
        let content = if is_new { Content::empty() } else { Content::of(origin()) };
        let mut staged = Staged { content, stages: HashMap::new(), stage: 0 };
        let mut sealed = Vec::new();
        for step in steps {
            match step {
                Step::Write { at, len, byte } => {
                    let data = vec![byte; usize::try_from(len).unwrap()];
                    if len > 0 {
                        let size = (model.len() as u64).max(at + len);
                        resized(&mut model, size);
                        let at = usize::try_from(at).unwrap();
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                    staged.write(at, &data);
                }
                Step::Resize(size) => {
                    staged.content.resize(size);
                    resized(&mut model, size);
                }
                Step::Punch { at, len } => {
                    staged.content.punch(&(at..at + len));
                    for byte in model.iter_mut().skip(usize::try_from(at).unwrap()).take(usize::try_from(len).unwrap()) {
                        *byte = 0;
                    }
                }
                Step::Seal => {
                    sealed.push((staged.content.clone(), model.clone()));
                    staged.stage += 1;
                }
                Step::Copy { from, len, to } => {
                    // What is written from now on must not change what was copied.
                    staged.stage += 1;
                    let other = staged.content.clone();
                    let copied = staged.content.copy(to, &other, from..from + len);
                    let end = (from + len).min(model.len() as u64);
                    prop_assert_eq!(copied, end.saturating_sub(from));
                    if copied > 0 {
                        let data = model[usize::try_from(from).unwrap()..usize::try_from(end).unwrap()].to_vec();
                        let size = (model.len() as u64).max(to + copied);
                        resized(&mut model, size);
                        let to = usize::try_from(to).unwrap();
                        model[to..to + data.len()].copy_from_slice(&data);
                    }
                }
            }
            prop_assert_eq!(staged.content.size(), model.len() as u64);
        }
        sealed.push((staged.content.clone(), model));
        for (content, model) in sealed {
            prop_assert_eq!(&staged.bytes(&content), &model);
            // Every byte of data is within what the staging files hold.
            for stage in content.stages() {
                prop_assert!(content.reach(stage) <= staged.stages[&stage].len() as u64);
            }
            // A record of it reads back as the same.
            let mut to = Writer::default();
            content.write(&mut to);
            let record = to.seal(b"here");
            let read = Content::read(&mut Reader::unseal(b"here", &record).unwrap());
            prop_assert_eq!(read.as_ref(), Some(&content));
        }
    }

    #[test]
    fn data_and_holes_are_found(at in 0..SPACE, len in 1..20u64, from in 0..SPACE, size in 0..SPACE) {
        let mut content = Content::empty();
        content.written(at..at + len, 1);
        content.resize(size);
        let is_data = |offset: u64| (at..at + len).contains(&offset);
        let next = |wanted: bool| (from..size).find(|offset| is_data(*offset) == wanted);
        if from >= size {
            prop_assert_eq!((content.seek(from, false), content.seek(from, true)), (None, None));
        } else {
            prop_assert_eq!(content.seek(from, false), next(true));
            prop_assert_eq!(content.seek(from, true), next(false).or(Some(size)));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
        let mut to = Writer::default();
        to.raw(&bytes);
        let record = to.seal(b"here");
        let _ = Content::read(&mut Reader::unseal(b"here", &record).unwrap());
    }
}

#[test]
fn only_a_whole_copy_counts_as_unchanged() {
    let mut content = Content::of(origin());
    assert_eq!(content.unchanged(), Some(&origin()));
    let mut copy = Content::empty();
    copy.copy(0, &content, 0..30);
    assert_eq!(copy.unchanged(), None);
    copy.copy(30, &content, 30..u64::MAX);
    assert_eq!(copy.unchanged(), Some(&origin()), "copied in two parts");
    content.written(5..6, 1);
    assert_eq!(content.unchanged(), None);
    assert_eq!(content.origins(), [&origin()]);
    assert_eq!(content.stages(), [1]);
}
