//! `user/info` (API reference 5.13).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::calls::int;
use crate::paris;
use crate::reply::{Ko, Outcome};
use crate::world::Call;

/// Fields that change the account; a client that only reads sends none of them.
pub(crate) const SETTABLE: &[&str] = &[
    "ftp_mode",
    "ftp_did",
    "ftp_report",
    "ru_report",
    "default_domain",
    "page_limit",
    "default_port",
    "default_port_files",
    "use_cdn",
    "download_menu",
];

/// Fields that rclone saw as strings.
const STRINGS: &[&str] = &[
    "offer",
    "2fa",
    "mail_rm",
    "ftp_mode",
    "ftp_report",
    "ru_report",
    "use_cdn",
    "download_menu",
    "default_port",
    "default_port_files",
    "upload_forbidden",
    "cdn",
];

/// Seconds between two refreshes of the storage figures: one hour.
const STATS_PERIOD: i64 = 3600;

/// Days the subscription still runs.
const SUBSCRIPTION_DAYS: i64 = 300;

pub(crate) fn info(call: &Arc<Call>, params: &Map<String, Value>) -> Outcome {
    for name in SETTABLE {
        if int(params, name)?.is_some() {
            call.note(&format!("changes_account: {name}"));
        }
    }
    let config = call.world.config();
    let used = call.world.account.state().used();
    let now = call.world.clock.unix();
    let free = config.quota_bytes.saturating_sub(used);
    let mut out = json!({
        "status": "OK",
        "email": "someone@example.com",
        "offer": config.offer,
        "subscription_end": paris::format(now + SUBSCRIPTION_DAYS * 86_400),
        "2fa": 0,
        "mail_rm": 0,
        "ftp_mode": 0,
        "ftp_did": 0,
        "ftp_report": 0,
        "ru_report": 0,
        "use_cdn": 0,
        "download_menu": 0,
        "default_port": 0,
        "default_port_files": 0,
        "default_domain": 0,
        "page_limit": 100,
        "upload_forbidden": u8::from(config.upload_forbidden),
        "overquota": u8::from(used > config.quota_bytes),
        "cdn": config.cdn_credits,
        "default_quota": config.quota_bytes,
        "default_cold_storage_quota": config.quota_bytes,
        "allowed_cold_storage": config.quota_bytes,
        "hot_storage": 0,
        "cold_storage": used,
        "available_storage": free,
        "available_cold_storage": free,
        "stats_date": paris::format(now.div_euclid(STATS_PERIOD) * STATS_PERIOD),
    });
    if config.user_info_strings {
        for name in STRINGS {
            let text = out[*name].to_string();
            out[*name] = json!(text);
        }
        out["cdn"] = json!(format!("{}.00", config.cdn_credits));
    }
    Ok(out)
}

/// True when the account may download (reference 12).
pub(crate) fn may_download(call: &Call) -> Result<(), Ko> {
    let config = call.world.config();
    if config.offer == 0 && config.cdn_credits == 0 {
        return Err(Ko::new(403, "Must be a customer (Premium, Access) #236"));
    }
    Ok(())
}
