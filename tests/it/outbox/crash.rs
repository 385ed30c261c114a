//! The process dies at any moment; the next one goes on. What was written down is in the account in the
//! end, once and whole, and nothing that was removed comes back.
use super::SOON;
use super::desk::Desk;
use fake_1fichier::{Fault, FaultKind, Profile};
use fichierfs::tree::Ino;
use std::time::Duration;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides.max(1) as u64)).unwrap()
    }
}

/// One thing a program might do.
fn act(desk: &Desk, dice: &mut Dice, step: usize) {
    const NAMES: [&str; 5] = ["a", "b", "c", "d e", "é"];
    let folder = {
        let folders = desk.inos(true);
        let at = dice.roll(folders.len() + 1);
        folders.get(at).copied().unwrap_or(Ino::ROOT)
    };
    let name = NAMES[dice.roll(NAMES.len())];
    let all = desk.inos(false);
    let node = all.get(dice.roll(all.len())).copied();
    let bytes = format!("content {step} ").repeat(1 + dice.roll(3_000));
    match (dice.roll(6), node) {
        (0 | 1, _) if desk.find(folder, name).is_none() => {
            desk.create(folder, name, bytes.as_bytes());
        }
        (2, _) if desk.find(folder, name).is_none() => {
            desk.mkdir(folder, name);
        }
        (3, Some(node)) if !desk.is_folder(node) => desk.write(node, bytes.as_bytes()),
        (4, Some(node)) if !desk.is_below(folder, node) => {
            let victim = desk.find(folder, name);
            let is_allowed = victim.is_none_or(|victim| {
                victim != node
                    && desk.is_folder(victim) == desk.is_folder(node)
                    && desk.is_empty(victim)
            });
            if is_allowed {
                desk.rename(node, folder, name);
            }
        }
        (5, Some(node)) if desk.is_empty(node) => desk.remove(node),
        _ => {}
    }
}

/// Seeds from `first` on: a few, or as many as `FICHIERFS_CRASH_SEEDS` says for a long run.
fn seeds(first: u64) -> impl Iterator<Item = u64> {
    let wanted = std::env::var("FICHIERFS_CRASH_SEEDS");
    let count = wanted
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(2);
    first..first + count
}

async fn rounds(seed: u64, rounds: usize, mut desk: Desk) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    println!("seed {seed}");
    for round in 0..rounds {
        for step in 0..=dice.roll(8) {
            act(&desk, &mut dice, round * 100 + step);
        }
        desk.written().await;
        // Up to 16 virtual seconds: before anything is told, in the middle, or after.
        tokio::time::sleep(Duration::from_millis(dice.roll(400) as u64)).await;
        desk.crash().await;
    }
    desk.drain(4 * SOON).await;
    desk.assert_told();
    desk.done();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_crashes_the_account_is_the_tree() {
    for seed in seeds(1) {
        rounds(seed, 4, Desk::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_crashes_and_lost_answers_the_account_is_the_tree() {
    for seed in seeds(1_000) {
        let desk = Desk::new();
        for kind in [FaultKind::LostReply, FaultKind::Reset] {
            let fault = Fault::on("*", kind).with_probability(0.08);
            desk.fake.faults().add(fault);
        }
        rounds(seed, 4, desk).await;
    }
}

/// Rules enforced, two in a hundred of every trouble a client can survive, files that appear late and
/// vanish late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_service_ends_up_with_the_tree_all_the_same() {
    for seed in seeds(2_000) {
        let desk = Desk::with(|fake| fake.profile(Profile::Hostile));
        rounds(seed, 2, desk).await;
    }
}
