//! Fills the store of an account with an invented tree, so that mounts of large accounts can be measured
//! without listing one for hours.
//!
//! ```text
//! FICHIERFS_API_KEY=… cargo run --release --example fill-store -- STATE_DIR/ACCOUNT FOLDERS FILES_PER_FOLDER [SAME]
//! ```
//!
//! A mount of that account with that key then shows the tree at once. With SAME, as many files hold each content. Names, sizes and hashes are as
//! long as real ones.
use anyhow::{Context, bail};
use fichierfs::api::scheduler::Fingerprint;
use fichierfs::api::{FileId, FileItem, FileUrl, FolderId, FolderListing, SubFolder, Whirlpool};
use fichierfs::secret::ApiKey;
use fichierfs::tree::Store;
use fichierfs::util::clock::Clock;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

/// Sub-folders of a folder that holds folders: what a person's library looks like.
const FAN_OUT: u64 = 100;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([dir, folders, files], same) = match &*arguments {
        [dir, folders, files] => ([dir, folders, files], "1"),
        [dir, folders, files, same] => ([dir, folders, files], &**same),
        _ => bail!("usage: fill-store STATE_DIR/ACCOUNT FOLDERS FILES_PER_FOLDER [SAME]"),
    };
    let same = NonZeroU64::new(same.parse()?).context("SAME is at least 1")?;
    let (dir, folders, files) = (PathBuf::from(dir), folders.parse()?, files.parse()?);
    let key = std::env::var("FICHIERFS_API_KEY").context("FICHIERFS_API_KEY is not set")?;
    let key = ApiKey::parse(&key).context("FICHIERFS_API_KEY holds no key")?;
    std::fs::create_dir_all(&dir)?;
    let began = Instant::now();
    let store = Store::open(&dir, Fingerprint::of(&key), Clock::system())?;
    store.claim("somebody@example.org")?;
    let entries = store.fill((0..folders).map(|number| listing(number, folders, files, same)))?;
    drop(store);
    println!(
        "{entries} entries in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What the service would say of the folder `number`: folder 0 is the root, the others hang below
/// it, [`FAN_OUT`] each.
fn listing(number: u64, folders: u64, files: u64, same: NonZeroU64) -> FolderListing {
    let below = number * FAN_OUT + 1..(number + 1) * FAN_OUT + 1;
    FolderListing {
        folder: id(number),
        name: "folder".into(),
        created: Some(1_600_000_000),
        file_count: Some(files),
        folders: below
            .filter(|child| *child < folders)
            .map(|child| SubFolder {
                id: id(child),
                name: format!("Season {child:05}").into(),
                created: Some(1_600_000_000),
                password: false,
            })
            .collect(),
        files: (0..files)
            .map(|file| file_item(number * files + file, same))
            .collect(),
    }
}

fn id(number: u64) -> FolderId {
    match number {
        0 => FolderId::ROOT,
        number => FolderId(4_000_000 + number),
    }
}

fn file_item(number: u64, same: NonZeroU64) -> FileItem {
    let content = number / same;
    let hash = Whirlpool::of(&number.to_le_bytes());
    let digits = hash.0[..20].iter().map(|byte| match byte % 36 {
        digit @ 0..10 => char::from(b'0' + digit),
        letter => char::from(b'a' + letter - 10),
    });
    let file = FileId::parse(&digits.collect::<String>()).expect("twenty digits and letters");
    FileItem {
        url: FileUrl::of(file),
        name: format!("Some.Show.S01E{number:07}.1080p.WEB.x264.mkv").into(),
        size: 1_000_000_000 + content,
        uploaded: Some(1_700_000_000 + i64::try_from(number).unwrap_or_default()),
        whirlpool: Some(Whirlpool::of(&content.to_le_bytes())),
        content_type: Some("video/x-matroska".into()),
        password: false,
        access_list: false,
    }
}
