//! Names that desktops and other systems look for in every folder they pass, and nearly never find.
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Whole names, in lower case.
const NAMES: [&str; 18] = [
    ".directory",
    ".ds_store",
    ".fseventsd",
    ".hidden",
    ".localized",
    ".metadata_never_index",
    ".spotlight-v100",
    ".temporaryitems",
    ".trash",
    ".trashes",
    ".volumeicon.icns",
    ".xdg-volume-info",
    "$recycle.bin",
    "autorun.inf",
    "desktop.ini",
    "ehthumbs.db",
    "system volume information",
    "thumbs.db",
];

/// Beginnings: the trash of a user, the companion file of a Mac program.
const BEGINNINGS: [&[u8]; 2] = [b".Trash-", b"._"];

/// Whether looking `name` up is not worth a call when the folder is not known yet. Once the folder
/// is listed, such names are shown like all others.
pub(super) fn is_junk(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    BEGINNINGS.iter().any(|start| bytes.starts_with(start))
        || NAMES
            .iter()
            .any(|junk| bytes.eq_ignore_ascii_case(junk.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_is_told_from_what_people_store() {
        for junk in [
            ".Trash",
            ".Trash-1000",
            "Thumbs.db",
            "desktop.ini",
            "._a.jpg",
            "AUTORUN.INF",
        ] {
            assert!(is_junk(OsStr::new(junk)), "{junk}");
        }
        for name in [
            "Trash",
            ".nomedia",
            ".ignore",
            ".git",
            "thumbs.dbx",
            "_a",
            ".",
        ] {
            assert!(!is_junk(OsStr::new(name)), "{name}");
        }
    }
}
