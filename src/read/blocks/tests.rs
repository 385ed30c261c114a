//! The memory by itself: right bytes, in any order, within the budget.
use super::*;
use proptest::prelude::*;

fn file(letter: char) -> FileId {
    FileId::parse(&letter.to_string().repeat(20)).unwrap()
}

/// The byte every test expects at an offset.
fn byte(at: u64) -> u8 {
    u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) & 0xff).unwrap()
}

fn bytes(range: Range<u64>) -> Bytes {
    range.map(byte).collect::<Vec<_>>().into()
}

#[test]
fn a_block_is_readable_while_it_fills() {
    let blocks = Blocks::new(1 << 20);
    let a = file('a');
    blocks.append(a, 100, &bytes(100..200));
    assert_eq!(blocks.get(a, 100..200), Some(bytes(100..200)));
    assert_eq!(blocks.get(a, 150..160), Some(bytes(150..160)));
    assert_eq!(blocks.get(a, 99..101), None);
    assert_eq!(blocks.get(a, 150..201), None);
    assert_eq!(blocks.first_missing(a, 150..4000), 200);
    assert_eq!(blocks.first_missing(a, 0..4000), 0);
    assert_eq!(blocks.get(file('b'), 100..101), None);
}

#[test]
fn a_settled_block_is_one_slice() {
    let blocks = Blocks::new(4 << 20);
    let a = file('a');
    for start in (0..BLOCK).step_by(16 * 1024) {
        blocks.append(a, start, &bytes(start..start + 16 * 1024));
    }
    blocks.settle(a, 0);
    let first = blocks.get(a, 0..BLOCK / 2).unwrap();
    let second = blocks.get(a, BLOCK / 2..BLOCK).unwrap();
    assert_eq!(first.as_ptr().wrapping_add(first.len()), second.as_ptr());
    assert_eq!(blocks.bytes(), BLOCK);
}

#[test]
fn what_was_consumed_goes_first() {
    let blocks = Blocks::new(3 * (BLOCK + SLOT_COST));
    let a = file('a');
    for index in 0..3 {
        blocks.append(a, index * BLOCK, &bytes(index * BLOCK..(index + 1) * BLOCK));
    }
    blocks.consumed(a, BLOCK..2 * BLOCK);
    blocks.append(a, 3 * BLOCK, &bytes(3 * BLOCK..4 * BLOCK));
    assert_eq!(blocks.first_missing(a, 0..4 * BLOCK), BLOCK);
    assert!(blocks.get(a, 2 * BLOCK..4 * BLOCK).is_some());
}

#[test]
fn a_settled_block_keeps_nothing_but_its_bytes() {
    let blocks = Blocks::new(1 << 20);
    let buffer = bytes(0..100_000);
    blocks.append(file('a'), 0, &buffer.slice(..10));
    assert!(!buffer.is_unique());
    blocks.settle(file('a'), 0);
    assert!(buffer.is_unique(), "ten bytes hold a whole buffer");
    assert_eq!(blocks.get(file('a'), 0..10), Some(bytes(0..10)));
}

#[test]
fn settling_loses_nothing_that_comes_meanwhile() {
    const PIECE: u64 = 512;
    let blocks = Blocks::new(64 << 20);
    let a = file('a');
    // Two streams fill the two halves of each block and settle it again and again.
    let fill = |half: u64| {
        for block in 0..4 {
            let begin = block * BLOCK + half * (BLOCK / 2 + PIECE);
            for at in (begin..begin + BLOCK / 2 - PIECE).step_by(512) {
                blocks.append(a, at, &bytes(at..at + PIECE));
                assert_eq!(blocks.first_missing(a, begin..at + PIECE), at + PIECE);
                blocks.settle(a, at);
                assert_eq!(blocks.first_missing(a, begin..at + PIECE), at + PIECE);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill(0));
        scope.spawn(|| fill(1));
    });
    let state = lock(&blocks.state);
    let held: u64 = state
        .slots
        .values()
        .flat_map(|slot| &slot.runs)
        .map(|run| run.len)
        .sum();
    assert_eq!(held, state.bytes);
}

#[test]
fn many_tiny_files_are_bounded_too() {
    let blocks = Blocks::new(1 << 20);
    for number in 0..20_000 {
        let id = FileId::parse(&format!("{number:020}")).unwrap();
        blocks.append(id, 0, &bytes(0..1));
    }
    let slots = lock(&blocks.state).slots.len();
    assert!(slots < 5000, "{slots} slots in a MiB");
}

#[derive(Debug, Clone)]
enum Op {
    Append(u64, u64),
    Put(u64, u64),
    Settle(u64),
    Consumed(u64, u64),
    Get(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..3 * BLOCK;
    prop_oneof![
        3 => (at.clone(), 1..BLOCK).prop_map(|(at, len)| Op::Append(at, len)),
        2 => (at.clone(), 1..BLOCK).prop_map(|(at, len)| Op::Put(at, len)),
        1 => at.clone().prop_map(Op::Settle),
        1 => (at.clone(), 1..BLOCK).prop_map(|(at, len)| Op::Consumed(at, len)),
        2 => (at, 1..2 * BLOCK).prop_map(|(at, len)| Op::Get(at, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes in whichever order: bytes are the right ones, the count of bytes is that
    /// of the slots, the budget holds.
    #[test]
    fn never_a_wrong_byte_and_never_over_the_budget(ops in prop::collection::vec(op(), 1..60)) {
        let blocks = Blocks::new(2 * BLOCK);
        let a = file('a');
        for op in ops {
            match op {
                Op::Append(at, len) => blocks.append(a, at, &bytes(at..at + len)),
                Op::Put(at, len) => {
                    let end = (at + len).min((at / BLOCK + 1) * BLOCK);
                    blocks.put(a, at, &bytes(at..end));
                    let missing = blocks.first_missing(a, at..end);
                    prop_assert!(missing == end || missing == at, "{missing} of {at}..{end}");
                }
                Op::Settle(at) => blocks.settle(a, at),
                Op::Consumed(at, len) => blocks.consumed(a, at..at + len),
                Op::Get(at, len) => {
                    let missing = blocks.first_missing(a, at..at + len);
                    let got = blocks.get(a, at..at + len);
                    prop_assert_eq!(got.is_some(), missing == at + len);
                    if let Some(got) = got {
                        prop_assert_eq!(got, bytes(at..at + len));
                    }
                }
            }
            let state = lock(&blocks.state);
            let held: u64 = state.slots.values().flat_map(|slot| &slot.runs).map(|run| run.len).sum();
            prop_assert_eq!(held, state.bytes);
            prop_assert_eq!(state.order.len(), state.slots.len());
            prop_assert!(state.bytes <= blocks.budget);
        }
    }
}
