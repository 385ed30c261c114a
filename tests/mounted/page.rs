//! The status page in a browser, while an upload runs.
use crate::harness::{Drive, assert_well_behaved, eventually};
use crate::visible::{hurry, page_of, slow_drive, status_of};
use fake_1fichier::Shape;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the upload is called: nothing of it may be more than text.
const NAME: &str = "holiday <b>& \"friends\".mkv";

/// Bytes of it, and how many a second go: it is on its way for as long as a browser on a busy machine takes.
const SIZE: usize = 60_000_000;
const SPEED: f64 = 5e5;

/// How long a browser may take; machines without a graphics card draw slowly.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where pictures of the page are kept for somebody to look at, if that is wanted.
const KEEP: &str = "PAGE_SCREENSHOTS";

/// A browser; says loudly when there is none, so that a green run does not look like more than it is.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!(
            "!!! SKIPPED: there is no Chromium (apt-get install chromium), the page was not looked at !!!"
        );
    }
    found
}

/// Runs the browser over `url` with a profile of its own; nothing but that page is asked for.
fn look(browser: &Path, arguments: &[&str], url: &str) -> Output {
    let profile = TempDir::new().unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(url)
        .env("HOME", profile.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    // What it says fits into a pipe, but for the page.
    let out = child.stdout.take().unwrap();
    let said = std::thread::spawn(move || std::io::read_to_string(out).unwrap_or_default());
    let err = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || std::io::read_to_string(err).unwrap_or_default());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (stdout, stderr) = (said.join().unwrap(), errors.join().unwrap());
    assert!(status.success(), "{status}: {stderr}");
    Output {
        status,
        stdout: stdout.into_bytes(),
        stderr: stderr.into_bytes(),
    }
}

/// A picture of a page: its width, height and pixels, by ffmpeg, which the tests need anyway.
fn pixels(png: &Path) -> (u32, u32, Vec<u8>) {
    let bytes = fs::read(png).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(png);
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (number(16), number(20), output.stdout)
}

/// Takes a picture of the page of `width` times `height` and looks at it: it must be of that size and show
/// something: ground, cards, text, and the colour of the bar.
fn picture(browser: &Path, url: &str, (width, height): (u32, u32), name: &str, is_dark: bool) {
    let dir = TempDir::new().unwrap();
    let png = dir.path().join("page.png");
    let size = format!("--window-size={width},{height}");
    let to = format!("--screenshot={}", png.display());
    let mut arguments = vec![&*size, &*to, "--force-device-scale-factor=1"];
    // What a system that prefers dark colours tells its browser.
    arguments.extend(is_dark.then_some("--blink-settings=preferredColorScheme=0"));
    look(browser, &arguments, url);
    let (got_width, got_height, pixels) = pixels(&png);
    assert_eq!((got_width, got_height), (width, height), "{name}");
    assert_eq!(pixels.len(), (width * height * 3) as usize);
    let mut colours = std::collections::HashMap::<&[u8], usize>::new();
    for pixel in pixels.chunks_exact(3) {
        *colours.entry(pixel).or_default() += 1;
    }
    assert!(colours.len() > 50, "{name}: only {} colours", colours.len());
    let (ground, most) = colours.iter().max_by_key(|(_, count)| **count).unwrap();
    assert!(
        *most < pixels.len() / 3 * 95 / 100,
        "{name} is nearly blank"
    );
    assert_eq!(
        ground.iter().all(|part| *part < 64),
        is_dark,
        "{name} is {ground:?}"
    );
    // The bar of an upload, a green of its own.
    let is_green = |pixel: &[u8]| {
        i32::from(pixel[1]) > i32::from(pixel[0]) + 60
            && i32::from(pixel[1]) > i32::from(pixel[2]) + 30
    };
    let green: usize = colours
        .iter()
        .filter(|(pixel, _)| is_green(pixel))
        .map(|(_, count)| count)
        .sum();
    assert!(green > 40, "{name}: no bar is seen, {green} green pixels");
    if let Some(keep) = std::env::var_os(KEEP) {
        fs::create_dir_all(&keep).unwrap();
        fs::copy(&png, Path::new(&keep).join(format!("{name}.png"))).unwrap();
    }
}

/// The element that starts with `start`, as the browser has it.
fn element<'a>(dom: &'a str, start: &str) -> &'a str {
    let at = dom
        .find(start)
        .unwrap_or_else(|| panic!("no {start} in {dom}"));
    let end = dom[at..].find('>').unwrap();
    &dom[at..=at + end]
}

fn attribute(element: &str, name: &str) -> String {
    let (_, rest) = element.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// Without what stands for characters of markup.
fn plain(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (markup, plain)| {
        text.replace(markup, plain)
    })
}

#[test]
fn a_browser_shows_an_upload_under_way() {
    let Some(browser) = browser() else {
        return;
    };
    let Some(drive) = slow_drive("browser", &[]) else {
        return;
    };
    drive.fake.set_shape(Shape {
        connection_bytes_per_second: SPEED,
        ..Shape::default()
    });
    let url = format!("http://{}/", page_of(&drive));
    fs::write(drive.path(NAME), vec![7; SIZE]).unwrap();
    let sent = |drive: &Drive| status_of(drive)["writing"]["uploads"][0]["sent_bytes"].as_u64();
    eventually("a part of it was sent", || {
        sent(&drive) > Some(SIZE as u64 / 30)
    });
    let before = sent(&drive).unwrap();

    let output = look(&browser, &["--dump-dom"], &url);
    let dom = String::from_utf8(output.stdout).unwrap();
    let after = sent(&drive).expect("it is still on its way");
    assert!(
        dom.contains("holiday &lt;b&gt;&amp; \"friends\".mkv"),
        "{dom}"
    );
    assert!(!dom.contains("<b>&"), "a name became more than text: {dom}");
    let progress = element(&dom, "<progress");
    let value: u64 = attribute(progress, "value").parse().unwrap();
    let percent = |bytes: u64| bytes * 100 / SIZE as u64;
    assert!(
        (percent(before)..=percent(after)).contains(&value),
        "{before} {progress} {after}"
    );
    let label = attribute(progress, "aria-label");
    assert_eq!(plain(&label), NAME);
    assert!(dom.contains(&format!("<h1>{}</h1>", drive.mount.dir().display())));
    assert!(
        dom.contains("/s</td>") && dom.contains(" left</td>"),
        "{dom}"
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("Content Security Policy"), "{errors}");

    picture(&browser, &url, (1200, 900), "page", false);
    picture(&browser, &url, (500, 900), "phone", false);
    picture(&browser, &url, (1200, 900), "dark", true);
    assert!(
        sent(&drive).is_some(),
        "the pictures were taken after its end"
    );
    hurry(&drive);
    let mut drive = drive;
    assert!(drive.mount.umount().success());
    assert_well_behaved(&drive.fake);
}
