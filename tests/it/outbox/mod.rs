//! What is told to the account: in how few calls, in which order, and what becomes of it when calls
//! fail, get lost, or the process dies in between.
mod crash;
mod desk;
mod staged;

use desk::Desk;
use fake_1fichier::{Fault, FaultKind, Shape};
use fichierfs::tree::Ino;
use std::time::Duration;

/// Virtual seconds in which anything must be told.
const SOON: u64 = 1200;

#[tokio::test]
async fn a_tree_of_small_files_takes_one_upload_per_folder() {
    let desk = Desk::new();
    for folder in 0..3 {
        let folder_ino = desk.mkdir(Ino::ROOT, &format!("folder {folder}"));
        for file in 0..40 {
            let bytes = vec![file; 20_480];
            desk.create(folder_ino, &format!("é {file}.txt"), &bytes);
        }
    }
    desk.written().await;
    desk.drain(SOON).await;
    desk.assert_told();
    assert_eq!(desk.fake.count("upload.cgi"), 3);
    assert_eq!(desk.fake.count("folder/mkdir"), 3);
    assert_eq!(desk.fake.count("folder/ls"), 0);
    let requests = desk.fake.log().len();
    assert!(requests <= 3 * 6, "{requests} requests");
    assert_eq!(desk.outbox.snapshot().waiting, 0);
    desk.done();
}

/// Twenty folders of fifty files: what it takes to send them, and to remove them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_files_take_few_requests_to_send_and_to_remove() {
    let desk = Desk::new();
    let top = desk.mkdir(Ino::ROOT, "top");
    let mut all = Vec::new();
    for number in 0..20 {
        let folder = desk.mkdir(top, &format!("folder {number}"));
        for file in 0..50u8 {
            all.push(desk.create(folder, &format!("{file}.jpg"), &vec![file + 1; 20_480]));
        }
        all.push(folder);
    }
    all.push(top);
    desk.drain(SOON).await;
    desk.assert_told();
    let sent = desk.fake.log().len();
    assert!(sent <= 90, "{sent} requests to send");
    for ino in all {
        desk.remove(ino);
    }
    desk.drain(SOON).await;
    desk.assert_told();
    let removed = desk.fake.log().len() - sent;
    assert!(removed <= 75, "{removed} calls to remove");
    println!("{sent} requests to send, {removed} to remove");
    desk.done();
}

#[tokio::test]
async fn what_was_removed_goes_in_few_calls() {
    let desk = Desk::new();
    let folder = desk.mkdir(Ino::ROOT, "folder");
    let files: Vec<Ino> = (0..130u8)
        .map(|n| desk.create(folder, &format!("f{n}"), &[n + 1; 10]))
        .collect();
    desk.drain(SOON).await;
    desk.assert_told();
    for file in files {
        desk.remove(file);
    }
    desk.remove(folder);
    desk.drain(SOON).await;
    desk.assert_told();
    // Whoever is slow to remove them may need one more.
    assert!(desk.fake.count("file/rm") <= 3);
    assert_eq!(desk.fake.count("folder/rm"), 1);
    desk.done();
}

#[tokio::test]
async fn a_rewrite_replaces_and_a_second_one_before_it_left_costs_nothing() {
    let desk = Desk::new();
    let file = desk.create(Ino::ROOT, "a", b"one");
    desk.drain(SOON).await;
    let first = desk.url(file).unwrap();
    desk.write(file, b"two");
    desk.write(file, b"three");
    desk.drain(SOON).await;
    desk.assert_told();
    assert_eq!(desk.fake.account().file(&first), None);
    assert_eq!(desk.fake.count("upload.cgi"), 2);
    // The old one went after the new one was there.
    let log = desk.fake.log();
    let at = |name: &str| log.iter().rposition(|entry| entry.endpoint == name);
    assert!(at("end.pl") < at("file/rm"));
    desk.done();
}

#[tokio::test]
async fn saving_by_renaming_over_leaves_one_complete_file() {
    let desk = Desk::new();
    let old = desk.create(Ino::ROOT, "report.odt", b"old");
    desk.drain(SOON).await;
    let temporary = desk.create(Ino::ROOT, "lu1234.tmp", b"new");
    desk.rename(temporary, Ino::ROOT, "report.odt");
    desk.drain(SOON).await;
    desk.assert_told();
    assert!(desk.url(old).is_none());
    assert_eq!(
        desk.fake.count("file/rename"),
        0,
        "it never had the other name there"
    );
    desk.done();
}

#[tokio::test]
async fn moves_and_renames_share_calls() {
    let desk = Desk::new();
    let (from, to) = (desk.mkdir(Ino::ROOT, "from"), desk.mkdir(Ino::ROOT, "to"));
    let files: Vec<Ino> = (1..20u8)
        .map(|n| desk.create(from, &format!("f{n}"), &[n; 10]))
        .collect();
    desk.drain(SOON).await;
    for (number, file) in files.iter().enumerate() {
        desk.rename(*file, to, &format!("g{number}"));
    }
    desk.rename(from, to, "empty");
    desk.drain(SOON).await;
    desk.assert_told();
    assert_eq!(desk.fake.count("file/mv"), 1);
    assert_eq!(desk.fake.count("file/rename"), 1);
    assert_eq!(desk.fake.count("upload.cgi"), 1, "nothing is sent again");
    desk.done();
}

#[tokio::test]
async fn folders_swap_their_names() {
    let desk = Desk::new();
    let (a, b) = (desk.mkdir(Ino::ROOT, "a"), desk.mkdir(Ino::ROOT, "b"));
    desk.create(a, "in a", b"a");
    desk.drain(SOON).await;
    desk.rename(a, Ino::ROOT, "c");
    desk.rename(b, Ino::ROOT, "a");
    desk.rename(a, Ino::ROOT, "b");
    desk.drain(SOON).await;
    desk.assert_told();
    desk.done();
}

#[tokio::test]
async fn what_vanished_before_it_settled_was_never_told() {
    let desk = Desk::new();
    let folder = desk.mkdir(Ino::ROOT, "build");
    let file = desk.create(folder, "temporary", b"x");
    desk.rename(file, folder, "other");
    desk.remove(file);
    desk.remove(folder);
    desk.create(Ino::ROOT, "empty", b"");
    desk.drain(SOON).await;
    assert_eq!(desk.fake.log().len(), 0);
    desk.done();
}

/// Each call's answer is lost once, or never comes, or half of it: afterwards the account is the tree, and
/// nothing is there twice.
async fn with_each_call_failing_once(kind: FaultKind) {
    let calls = [
        "upload/get_upload_server",
        "upload.cgi",
        "end.pl",
        "folder/mkdir",
        "folder/mv",
        "folder/rm",
        "file/mv",
        "file/rename",
        "file/rm",
    ];
    let desk = Desk::new();
    for call in calls {
        desk.fake.faults().add(Fault::on(call, kind.clone()).once());
    }
    let folder = desk.mkdir(Ino::ROOT, "folder");
    let other = desk.mkdir(folder, "other");
    let a = desk.create(folder, "a", b"first");
    let b = desk.create(folder, "b", b"second");
    desk.drain(SOON).await;
    desk.assert_told();
    desk.write(a, b"changed");
    desk.rename(b, Ino::ROOT, "b");
    desk.drain(SOON).await;
    desk.rename(b, Ino::ROOT, "c");
    desk.rename(other, Ino::ROOT, "moved");
    desk.drain(SOON).await;
    desk.assert_told();
    desk.rename(other, Ino::ROOT, "renamed");
    desk.remove(a);
    desk.remove(folder);
    desk.drain(SOON).await;
    desk.assert_told();
    desk.done();
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_for_before_anything_is_repeated() {
    with_each_call_failing_once(FaultKind::LostReply).await;
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_made_again() {
    with_each_call_failing_once(FaultKind::Reset).await;
}

#[tokio::test]
async fn an_answer_without_sense_is_looked_for_before_anything_is_repeated() {
    with_each_call_failing_once(FaultKind::MalformedJson).await;
}

#[tokio::test]
async fn a_report_without_links_or_damaged_leaves_each_file_there_once() {
    let desk = Desk::new();
    let faults = desk.fake.faults();
    faults.add(Fault::on("upload.cgi", FaultKind::EmptyReport).once());
    for number in 1..5u8 {
        desk.create(Ino::ROOT, &format!("f{number}"), &vec![number; 3_000]);
    }
    desk.drain(SOON).await;
    desk.assert_told();
    assert_eq!(desk.fake.count("upload.cgi"), 1, "nothing was sent twice");
    desk.done();
}

/// The bytes of both are the same, and so is the name they were sent under.
#[tokio::test]
async fn of_two_equal_files_each_has_its_own_whichever_report_is_empty() {
    let mut desk = Desk::new();
    for round in 0..2 {
        desk.fake.set_config(|config| config.wait_seconds = 3600.0);
        let bytes = format!("round {round}").repeat(500);
        let sent = desk.fake.count("upload.cgi");
        let first = desk.create(Ino::ROOT, &format!("{round}"), bytes.as_bytes());
        desk.is_asked("upload.cgi", sent + 1).await;
        desk.rename(first, Ino::ROOT, &format!("{round} moved"));
        let second = desk.create(Ino::ROOT, &format!("{round}"), bytes.as_bytes());
        desk.is_asked("upload.cgi", sent + 2).await;
        desk.written().await;
        desk.crash().await;
        desk.fake.set_config(|config| config.wait_seconds = 0.0);
        let faults = desk.fake.faults();
        faults.add(Fault::on("end.pl", FaultKind::EmptyReport).once());
        desk.drain(SOON).await;
        assert_ne!(desk.url(first), desk.url(second));
        desk.assert_told();
    }
    desk.done();
}

#[tokio::test]
async fn a_file_that_is_held_open_waits_longer_unless_somebody_waits_for_it() {
    let desk = Desk::new();
    let log = desk.create(Ino::ROOT, "log", b"line");
    desk.outbox.hold(log, || true);
    for number in 0..5 {
        desk.write(log, format!("line {number}").as_bytes());
        // Longer than a file that is closed waits.
        desk.clock.sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(desk.fake.count("upload.cgi"), 0);
    desk.outbox.hurry();
    desk.drain(60).await;
    desk.assert_told();
    desk.write(log, b"the last line");
    desk.outbox.hold(log, || false);
    desk.drain(60).await;
    desk.assert_told();
    desk.done();
}

#[tokio::test]
async fn what_is_refused_for_good_waits_for_a_person() {
    let desk = Desk::new();
    let faults = desk.fake.faults();
    faults.add(Fault::on("upload.cgi", FaultKind::Quota));
    let big = desk.create(Ino::ROOT, "big", &vec![1; 100_000]);
    let other = desk.create(Ino::ROOT, "other", b"2");
    desk.drain(SOON).await;
    let failed = desk.outbox.snapshot().failed;
    assert_eq!(failed.len(), 2);
    assert!(failed[0].1.contains("full"), "{}", failed[0].1);
    let tries = desk.fake.count("upload.cgi");
    assert!(tries <= 3, "{tries} tries");
    assert!(desk.account().is_empty());
    desk.fake.faults().clear();
    desk.outbox.with(|tell| {
        tell.give_up(other);
        tell.retry(big);
    });
    desk.drain(SOON).await;
    assert_eq!(desk.account().keys().collect::<Vec<_>>(), ["big"]);
    desk.done();
}

/// The service ends an upload after four hours (API reference 3): what takes so long is not sent for ever.
#[tokio::test]
async fn what_takes_longer_than_an_upload_may_waits_for_a_person() {
    // 14 s of real time; the source is what is slow, since the kernel takes what is slow to leave.
    let desk = Desk::at_speed("1000", |fake| {
        fake.config(|config| config.upload_max_seconds = 13_500.0)
    });
    desk.read_slowly(Duration::from_millis(20));
    let slow = desk.create(Ino::ROOT, "slow", &vec![1; 100_000]);
    let (ino, reason) = desk.given_up().await;
    assert_eq!(ino, slow);
    assert!(reason.contains("more than 3.5 h"), "{reason}");
    assert!(desk.account().is_empty());
    desk.read_slowly(Duration::ZERO);
    desk.outbox.with(|tell| tell.retry(slow));
    desk.drain(20_000).await;
    assert_eq!(desk.account().keys().collect::<Vec<_>>(), ["slow"]);
    desk.done();
}

/// Each time costs the whole transfer.
#[tokio::test]
async fn what_is_sent_whole_and_never_answered_is_not_sent_for_ever() {
    let desk = Desk::at_speed("400", |fake| fake);
    let faults = desk.fake.faults();
    faults.add(Fault::on("upload.cgi", FaultKind::Status { code: 502 }));
    let file = desk.create(Ino::ROOT, "file", &vec![1; 100_000]);
    let (ino, reason) = desk.given_up().await;
    assert_eq!(ino, file);
    assert!(reason.contains("again and again"), "{reason}");
    assert_eq!(desk.fake.count("upload.cgi"), 10);
    faults.clear();
    desk.outbox.with(|tell| tell.retry(file));
    desk.drain(20_000).await;
    assert_eq!(desk.account().keys().collect::<Vec<_>>(), ["file"]);
    desk.done();
}

/// What went wrong with it says nothing of what was written since.
#[tokio::test]
async fn a_content_that_nobody_wants_any_more_gives_up_no_other() {
    let slow = Shape {
        api_ms: 10_000.0,
        ..Shape::default()
    };
    let desk = Desk::with(|fake| fake.shape(slow));
    desk.unreadable(true);
    let file = desk.create(Ino::ROOT, "file", b"before");
    desk.is_asked("upload/get_upload_server", 1).await;
    // While the node is named; it is read when that is known.
    desk.write(file, b"after");
    tokio::time::sleep(Duration::from_millis(400)).await;
    desk.unreadable(false);
    desk.drain(SOON).await;
    desk.assert_told();
    desk.done();
}

#[tokio::test]
async fn a_folder_that_others_have_used_is_not_removed() {
    let desk = Desk::new();
    let folder = desk.mkdir(Ino::ROOT, "folder");
    desk.drain(SOON).await;
    let id = desk.fake.account().folder_at("folder").unwrap();
    desk.fake
        .account()
        .add_bytes(id, "theirs", b"precious".to_vec());
    desk.remove(folder);
    desk.drain(SOON).await;
    assert_eq!(desk.fake.account().files_at("folder/theirs").len(), 1);
    assert_eq!(desk.fake.count("folder/rm"), 0);
    desk.done();
}
