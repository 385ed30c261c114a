//! All switches of the fake in one struct; every unknown of API reference 15 is one of them.
//!
//! The defaults are the documented behaviour in its strictest reading. Seconds are virtual (see [`crate::clock`]).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a call gets that breaks a listing rule (reference 15.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListingBreach {
    /// A flood answer and the lock.
    Flood,
    /// What the last allowed call of the same kind got.
    Cached,
}

/// What a folder of more entries than the cap answers (reference 15.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapForm {
    /// The rest is missing without a word.
    Cut,
    /// KO.
    Refuse,
}

/// The wording of a flood answer (reference 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloodText {
    /// `Flood detected: IP Locked #374`.
    Ip,
    /// `Flood detected: User Locked #223`.
    User,
    /// `Flood detected: User APK Locked`.
    Apk,
}

/// HTTP status of KO answers other than flood and `Resource not found`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KoStatus {
    /// The code the reference gives for each message.
    Observed,
    /// Always 200.
    Ok,
    /// Always 403.
    Forbidden,
    /// 200 and 403 in turn.
    Alternate,
}

/// How an empty array is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyArrays {
    /// Any of the three, changing from answer to answer.
    Rotate,
    /// The key is missing.
    Absent,
    /// `null`.
    Null,
    /// `[]`.
    Empty,
}

/// How the MIME type key is spelled in `file/info` (reference 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MimeKey {
    /// `content-type`.
    Hyphen,
    /// `content_type`.
    Underscore,
}

/// `folder/mkdir` with the name of a sibling (reference 15.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateFolder {
    /// KO.
    Refuse,
    /// OK with the id of the existing folder.
    Existing,
    /// A second folder of the same name.
    Duplicate,
}

/// `file/mv` inside one folder with a new name (reference 5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameFolderMv {
    /// OK, and the name stays as it was.
    Ignore,
    /// KO.
    Refuse,
    /// The file is renamed.
    Honour,
}

/// `folder/mv` with both a destination and a new name (reference 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderMvBoth {
    /// The destination is ignored, as the page says.
    RenameWins,
    /// Both are done, as rclone needs it.
    Both,
}

/// `folder/rm` of a folder that holds something (reference 15.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderRm {
    /// KO.
    Refuse,
    /// All it holds goes with it.
    Recursive,
}

/// What answers a complete upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadAnswer {
    /// 302 with a relative `Location`.
    Redirect,
    /// 200 with a page, as a few nodes did.
    Page,
}

/// When an upload is stored (reference 15.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreAt {
    /// With the answer of the POST.
    Post,
    /// With the first request of the report.
    Report,
}

/// What an expired or consumed download URL answers (reference 15.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredForm {
    /// 404 with HTML.
    NotFound,
    /// 410 with HTML.
    Gone,
    /// 403 with HTML.
    Forbidden,
    /// 200 with HTML.
    Page,
    /// 302 to the public page of the file.
    Redirect,
    /// Each of them in turn.
    Rotate,
}

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// All switches. See each field; times in virtual seconds, sizes in bytes.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config { $($(#[doc = $doc])+ pub $name: $kind,)+ }

        impl Default for Config {
            fn default() -> Self { Self { $($name: $default,)+ } }
        }

        /// Name and meaning of each switch, for `--help` and the README.
        pub const SWITCHES: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),+)),)+];
    };
}

config! {
    /// Nothing is answered: new connections and running requests are reset, the admin interface excepted.
    offline: bool = false;

    // Rules (reference 3).
    /// Rules are enforced, not only counted.
    enforce_rules: bool = false;
    /// Requests allowed in each sliding window, API and node together.
    rate_limit: usize = 3;
    /// Length of that window.
    rate_window_seconds: f64 = 1.0;
    /// Least time between two listings of one folder.
    listing_interval_seconds: f64 = 30.0;
    /// `folder/ls` and `file/ls` of one folder share that time.
    listing_rule_shared: bool = false;
    /// A listing that met a 5xx before it was carried out counts all the same. Not so by default: rclone repeats
    /// listings after 0.4 s then and has been let for years (reference 2.2).
    failed_listing_counts: bool = false;
    /// Least time between two listings of the whole account.
    account_listing_interval_seconds: f64 = 3600.0;
    /// Least time between any two listings; 0 is off, 3 was reported.
    listing_spacing_seconds: f64 = 0.0;
    /// What a listing too early gets when rules are enforced.
    listing_breach: ListingBreach = ListingBreach::Flood;
    /// Least time between two `user/info` from one address.
    user_info_ip_seconds: f64 = 60.0;
    /// Least time between two `user/info` of one user.
    user_info_user_seconds: f64 = 300.0;
    /// Answers of 401, 403, 404 and 410 allowed per minute, API and links together; 0 is off.
    abuse_per_minute: usize = 30;
    /// Length of the flood lock.
    flood_lock_seconds: f64 = 30.0;
    /// A request during the lock starts it anew.
    flood_lock_extends: bool = true;
    /// HTTP status of a flood answer: 403, 429 or 200.
    flood_status: u16 = 403;
    /// Wording of a flood answer.
    flood_text: FloodText = FloodText::Ip;
    /// Value of a `Retry-After` header on flood answers; never observed, so none.
    flood_retry_after: Option<u32> = None;
    /// Requests during a flood lock that turn it into the hard ban; 0 is never.
    hard_lock_after: u32 = 0;
    /// Length of the hard ban.
    hard_lock_seconds: f64 = 3600.0;
    /// Downloads allowed at the same time.
    download_connections: usize = 30;

    // Shape of answers (reference 2, 5).
    /// Entries a listing holds at most.
    listing_cap: usize = 5000;
    /// What happens above the cap.
    listing_cap_form: CapForm = CapForm::Cut;
    /// Sub-folders count for the cap too.
    listing_cap_counts_folders: bool = false;
    /// HTTP status of KO answers.
    ko_status: KoStatus = KoStatus::Observed;
    /// How empty arrays are written.
    empty_arrays: EmptyArrays = EmptyArrays::Rotate;
    /// Keys of objects come in random order.
    shuffle_keys: bool = true;
    /// `user/info` writes flags and figures as strings, as seen in 2022.
    user_info_strings: bool = true;
    /// Spelling of the MIME type in `file/info`.
    mime_key: MimeKey = MimeKey::Hyphen;
    /// A backslash in a stored name is written unescaped, which makes the JSON invalid.
    raw_backslash: bool = true;
    /// Requests with `\uXXXX` are refused.
    refuse_unicode_escapes: bool = false;
    /// Bounds of `sent_before` and `sent_after` are part of the answer.
    sent_bounds_inclusive: bool = false;

    // Names and changes (reference 4.1, 5, 10).
    /// Bad characters in JSON names become `_` instead of a refusal.
    rewrite_bad_names: bool = false;
    /// The acute accent U+00B4 is a bad character too.
    refuse_acute_accent: bool = false;
    /// Longest folder name in characters.
    folder_name_max: usize = 250;
    /// A folder is made twice.
    duplicate_folder: DuplicateFolder = DuplicateFolder::Refuse;
    /// `file/mv` inside one folder with `rename`.
    same_folder_mv: SameFolderMv = SameFolderMv::Ignore;
    /// `file/mv` with `rename` equal to the current name is refused.
    refuse_same_name_mv: bool = true;
    /// `folder/mv` with destination and name.
    folder_mv_both: FolderMvBoth = FolderMvBoth::RenameWins;
    /// `folder/rm` of a folder that holds something.
    folder_rm: FolderRm = FolderRm::Refuse;
    /// `file/mv` gives the file a new URL.
    move_changes_url: bool = false;
    /// `file/rename` gives the file a new URL.
    rename_changes_url: bool = false;
    /// `file/mv` and `file/rename` set the date anew.
    move_changes_date: bool = false;
    /// A password of one's own file must come with calls that read it, too (reference 7.1: not verified).
    own_files_need_password: bool = false;
    /// `file/cp` keeps the date of its source.
    copy_keeps_date: bool = false;
    /// Time until an uploaded or copied file is listed and can be downloaded.
    appear_delay_seconds: f64 = 0.0;
    /// Time a deleted file is still listed.
    vanish_delay_seconds: f64 = 0.0;
    /// Time a removed or moved folder is still listed where it was (reference 10 knows of no such lag, nor of none).
    folder_vanish_delay_seconds: f64 = 0.0;
    /// Synthetic and mirrored files up to this size show their true Whirlpool, larger ones a stable arbitrary value.
    true_hash_limit: u64 = 1 << 20;

    // Uploads (reference 6).
    /// What answers a complete upload.
    upload_answer: UploadAnswer = UploadAnswer::Redirect;
    /// The `xid` of the report differs from the `id` of the upload.
    xid_differs: bool = false;
    /// When an upload is stored.
    store_at: StoreAt = StoreAt::Post;
    /// Requests of the report that get the wait page first.
    wait_polls: u32 = 0;
    /// Time after the upload during which the report is the wait page.
    wait_seconds: f64 = 0.0;
    /// The report comes without links though the files are stored.
    empty_report: bool = false;
    /// The report holds one link more than files.
    surplus_link: bool = false;
    /// Life of a report.
    report_life_seconds: f64 = 7200.0;
    /// Time in which the node of `get_upload_server` must be used.
    node_id_life_seconds: f64 = 600.0;
    /// Longest duration of one upload.
    upload_max_seconds: f64 = 14400.0;
    /// Files in one upload.
    upload_max_files: usize = 500;
    /// Largest file: 300 GB.
    upload_max_file_bytes: u64 = 300_000_000_000;
    /// Largest upload: 500 GB.
    upload_max_bytes: u64 = 500_000_000_000;
    /// An upload must say `Connection: close`, as one client reported of 2020.
    upload_must_close: bool = false;
    /// Uploaded files up to this size are kept in memory, larger ones in a nameless temporary file.
    memory_file_bytes: u64 = 8 << 20;

    // Downloads (reference 7).
    /// Time in which the first request of a download URL must come.
    token_start_seconds: f64 = 300.0;
    /// Life of a download URL.
    token_life_seconds: f64 = 1800.0;
    /// Requests served at the same time by one download URL; 0 is any number (reference 15.10).
    token_parallel: usize = 0;
    /// What a dead download URL answers.
    expired_form: ExpiredForm = ExpiredForm::NotFound;
    /// HTTP status of the page about too many connections.
    connections_status: u16 = 403;
    /// `Authorization` on a download is a violation, not only a note: the key must not leave the API.
    key_on_download_is_violation: bool = true;

    // The account (reference 5.13, 12).
    /// 0 none, 1 Premium, 2 Access, 3 GOLD.
    offer: u32 = 1;
    /// Storage of the account.
    quota_bytes: u64 = 2_000_000_000_000;
    /// CDN credits in GB.
    cdn_credits: u32 = 0;
    /// Uploads are refused.
    upload_forbidden: bool = false;
}

impl Config {
    /// Sets the switch `name` from text: JSON, or else a plain word.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let mut one = serde_json::Map::new();
        one.insert(name.to_owned(), value);
        self.merge(&Value::Object(one))
    }

    /// Sets several switches from a JSON object; nothing changes when one of them is wrong.
    pub fn merge(&mut self, changes: &Value) -> Result<(), String> {
        let Value::Object(changes) = changes else {
            return Err("switches must be a JSON object".to_owned());
        };
        let mut all = serde_json::to_value(&*self).map_err(|e| e.to_string())?;
        for (name, value) in changes {
            if let Value::Object(all) = &mut all {
                all.insert(name.clone(), value.clone());
            }
        }
        *self = serde_json::from_value(all).map_err(|e| format!("bad switch: {e}"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_set_by_name() {
        let mut config = Config::default();
        config.set("enforce_rules", "true").expect("known");
        config.set("expired_form", "gone").expect("known");
        config.set("wait_seconds", "2.5").expect("known");
        assert!(config.enforce_rules && config.expired_form == ExpiredForm::Gone);
        let before = config.clone();
        assert!(config.set("no_such", "1").is_err());
        assert!(config.set("offer", "many").is_err());
        assert_eq!(config, before);
    }

    #[test]
    fn every_field_is_listed() {
        let Value::Object(all) = serde_json::to_value(Config::default()).expect("plain") else {
            panic!("object")
        };
        assert_eq!(all.len(), SWITCHES.len());
    }
}
