//! What goes wrong on the way, and that a reader does not notice, or hears the truth in time.
use crate::harness::{Mount, can_mount};
use fake_1fichier::{ExpiredForm, Fake, Fault, FaultKind, content};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// Virtual seconds per real second in these tests.
const FACTOR: &str = "20";

const SIZE: u64 = 6 << 20;

fn trouble(fault: Fault) -> (Fake, Mount) {
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    fake.account().add_synthetic(0, "film.mkv", SIZE, 11);
    fake.faults().add(fault);
    let mount = Mount::with(&fake, Some(FACTOR), &["--cache-size", "0"]);
    (fake, mount)
}

/// Reads the file whole; every byte must be right.
fn read_all(mount: &Mount) -> std::io::Result<()> {
    let file = File::open(mount.path("film.mkv"))?;
    let mut got = vec![0; usize::try_from(SIZE).unwrap()];
    file.read_exact_at(&mut got, 0)?;
    let mut want = vec![0; got.len()];
    content::fill(11, 0, &mut want);
    assert!(got == want, "wrong bytes");
    Ok(())
}

#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    if !can_mount() {
        return;
    }
    let faults = [
        FaultKind::Reset,
        FaultKind::Close,
        FaultKind::ResetAfter { bytes: 100_000 },
        FaultKind::CloseAfter { bytes: 100_000 },
        FaultKind::StallAfter { bytes: 100_000 },
        FaultKind::Stall,
        FaultKind::ShortBody { bytes: 100_000 },
        FaultKind::WrongRangeStart,
        FaultKind::WrongRangeTotal,
        FaultKind::IgnoreRange,
        FaultKind::HtmlOk,
        FaultKind::Status { code: 502 },
        FaultKind::ExpiredToken {
            form: ExpiredForm::Rotate,
        },
    ];
    for kind in faults {
        let (fake, mut mount) = trouble(Fault::on("download", kind.clone()).times(2));
        read_all(&mount).unwrap_or_else(|error| panic!("{kind:?}: {error}\n{}", mount.log()));
        assert!(
            fake.log().iter().any(|it| it.fault.is_some()),
            "{kind:?} did not strike"
        );
        mount.umount();
    }
}

#[test]
fn a_link_that_expires_is_renewed_in_mid_read() {
    if !can_mount() {
        return;
    }
    for form in [
        ExpiredForm::NotFound,
        ExpiredForm::Gone,
        ExpiredForm::Forbidden,
        ExpiredForm::Page,
        ExpiredForm::Redirect,
    ] {
        let fake = Fake::builder()
            .clock(FACTOR)
            .config(|c| c.expired_form = form)
            .start()
            .unwrap();
        fake.account().add_synthetic(0, "film.mkv", SIZE, 11);
        let mut mount = Mount::with(&fake, Some(FACTOR), &["--cache-size", "0"]);
        let file = File::open(mount.path("film.mkv")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        // The service's clock runs ahead of ours: the link is dead although we think it lives.
        fake.clock().advance(Duration::from_secs(1801));
        file.read_exact_at(&mut byte, SIZE - 1).unwrap();
        let mut want = [0];
        content::fill(11, SIZE - 1, &mut want);
        assert_eq!(byte, want, "{form:?}");
        assert_eq!(fake.count("download/get_token"), 2, "{form:?}");
        drop(file);
        mount.umount();
    }
}

#[test]
fn a_service_that_never_answers_is_an_error_by_the_deadline() {
    if !can_mount() {
        return;
    }
    let (_fake, mut mount) = trouble(Fault::on("download", FaultKind::Stall));
    let began = Instant::now();
    let error = read_all(&mount).unwrap_err();
    // 60 s of the mount's time are 3 s here; the kernel may ask twice.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(error.raw_os_error(), Some(110 | 5)), "{error}");
    mount.umount();
}

#[test]
fn a_file_that_vanished_is_stale_and_not_a_hang() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let url = fake.account().add_synthetic(0, "film.mkv", SIZE, 11);
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--cache-size", "0"]);
    let file = File::open(mount.path("film.mkv")).unwrap();
    fake.account().remove(&url);
    let error = file.read_at(&mut [0; 100], 0).unwrap_err();
    assert!(matches!(error.raw_os_error(), Some(116 | 5)), "{error}");
    drop(file);
    mount.umount();
}

#[test]
fn stalled_readers_do_not_hold_up_what_is_in_memory() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    fake.account().add_synthetic(0, "here.mkv", SIZE, 11);
    for index in 0..64 {
        fake.account()
            .add_synthetic(0, &format!("stalled {index}"), SIZE, index);
    }
    let mut mount = Mount::new(&fake);
    let here = mount.path("here.mkv");
    let mut buffer = vec![0; 1 << 20];
    File::open(&here)
        .unwrap()
        .read_exact_at(&mut buffer, 0)
        .unwrap();
    // The kernel's own copy would prove nothing.
    drop_caches();
    fake.faults()
        .add(Fault::on("download", FaultKind::Stall).named("stalled"));
    let stalled: Vec<_> = (0..64)
        .map(|index| {
            let path = mount.path(&format!("stalled {index}"));
            std::thread::spawn(move || File::open(path).map(|file| file.read_at(&mut [0; 4096], 0)))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    File::open(&here)
        .unwrap()
        .read_exact_at(&mut buffer, 0)
        .unwrap();
    let took = began.elapsed();
    mount.signal("TERM");
    mount.wait();
    for reader in stalled {
        let _ = reader.join().unwrap();
    }
    assert!(
        took < Duration::from_secs(5),
        "{took:?}: waited for the stalled ones"
    );
}

/// Makes the kernel forget file contents; as root only, elsewhere the test proves less.
fn drop_caches() {
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "1");
}
