//! `user/info`: the account's offer and figures (API reference 5.13).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::scheduler::{Call, CallClass};
use super::super::types::{Dated, Offer, UserInfo};
use super::super::wire::Scalar;
use super::super::{ApiError, Ask, ErrorKind, Reached};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The service allows one call per 5 minutes and user (API reference 3); 6 keep clear of it.
pub(super) const SPACING: Duration = Duration::from_secs(6 * 60);
/// Bytes of one CDN credit (API reference 5.13: decimal gigabytes).
const CREDIT_BYTES: u64 = 1_000_000_000;

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserAnswer {
    email: Scalar,
    offer: Scalar,
    subscription_end: Scalar,
    cold_storage: Scalar,
    hot_storage: Scalar,
    available_cold_storage: Scalar,
    cdn: Scalar,
    use_cdn: Scalar,
    overquota: Scalar,
    upload_forbidden: Scalar,
}

impl Client {
    /// The account's figures: the last answer while it is younger than 6 minutes, whichever
    /// process got it, else a call. Asking more often locks the key.
    pub async fn user_info(&self, ask: &Ask) -> Result<Dated<UserInfo>, ApiError> {
        let call = Call {
            name: "user/info",
            class: CallClass::UserInfo,
        };
        let turn = ask.deadline.run(self.user_info_turn().acquire()).await;
        let _turn = turn.and_then(Result::ok).ok_or_else(|| {
            let detail = "another request for it is under way";
            ApiError::new(ErrorKind::Timeout, call.name, Reached::NotSent, detail)
        })?;
        if let Some(known) = self.recent_user_info() {
            return Ok(known);
        }
        // No settable field is sent: this call would set it.
        let answer: UserAnswer = self.query(ask, &call, &json!({})).await?;
        let info = user_info(call.name, answer)?;
        self.scheduler().keep_user_info(info.clone());
        Ok(Dated {
            at: self.clock().unix(),
            value: info,
        })
    }

    fn recent_user_info(&self) -> Option<Dated<UserInfo>> {
        let (value, at) = self.scheduler().user_info()?;
        // A date ahead of the clock is as good as new, not as good as for ever.
        let age = self.clock().unix().abs_diff(at);
        (age < SPACING).then_some(Dated { at, value })
    }
}

fn user_info(call: &'static str, answer: UserAnswer) -> Result<UserInfo, ApiError> {
    let offer = match answer.offer.u64() {
        Some(0) => Offer::Free,
        Some(1) => Offer::Premium,
        Some(2) => Offer::Access,
        Some(3) => Offer::Gold,
        Some(other) => Offer::Other(u32::try_from(other).unwrap_or(u32::MAX)),
        None => return Err(malformed(call, "no offer")),
    };
    Ok(UserInfo {
        email: answer.email.text().unwrap_or_default().into(),
        offer,
        subscription_end: answer.subscription_end.filled(),
        cold_storage: answer.cold_storage.u64().unwrap_or(0),
        hot_storage: answer.hot_storage.u64().unwrap_or(0),
        available_cold_storage: answer.available_cold_storage.i64(),
        cdn_credits: answer.cdn.scaled(CREDIT_BYTES).unwrap_or(0),
        use_cdn: answer.use_cdn.flag(),
        over_quota: answer.overquota.flag(),
        upload_forbidden: answer.upload_forbidden.flag(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::from_json;
    use super::*;

    #[test]
    fn strings_and_numbers_read_alike() {
        let strings = r#"{"email":"me@example.org","offer":"3","subscription_end":"2027-01-01 00:00:00",
            "cold_storage":1000000000001,"hot_storage":"5","available_cold_storage":-7,"cdn":"12.25",
            "use_cdn":"1","overquota":"0","upload_forbidden":null}"#;
        let info = user_info("t", from_json(strings.as_bytes()).unwrap()).unwrap();
        assert_eq!(info.offer, Offer::Gold);
        assert_eq!(info.cold_storage, 1_000_000_000_001);
        assert_eq!(info.hot_storage, 5);
        assert_eq!(info.available_cold_storage, Some(-7));
        assert_eq!(info.cdn_credits, 12_250_000_000);
        assert!(info.use_cdn && !info.over_quota && !info.upload_forbidden);
        assert!(user_info("t", UserAnswer::default()).is_err());
        let other = user_info("t", from_json(br#"{"offer":9}"#).unwrap()).unwrap();
        assert_eq!(other.offer, Offer::Other(9));
    }
}
