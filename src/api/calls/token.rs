//! Download links (API reference 7.1).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::scheduler::{Call, CallClass};
use super::super::types::DownloadLink;
use super::super::wire::Scalar;
use super::super::{ApiError, Ask, FileUrl};
use crate::secret::Password;
use serde::Deserialize;
use serde_json::json;

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenAnswer {
    url: Scalar,
}

impl Client {
    /// A link to a file's bytes: the first download within 5 minutes, further ranges within 30
    /// (API reference 7.2). Good for any number of ranges and connections (`single:0`), and spends
    /// CDN credits only when the settings say so.
    pub async fn download_link(&self, ask: &Ask, file: &FileUrl) -> Result<DownloadLink, ApiError> {
        self.download_link_with(ask, file, None).await
    }

    /// The same of a file that has a password and may be somebody else's. Without a password those
    /// written down are used, if it wants one.
    pub async fn download_link_with(
        &self,
        ask: &Ask,
        file: &FileUrl,
        password: Option<&Password>,
    ) -> Result<DownloadLink, ApiError> {
        let call = Call {
            name: "download/get_token",
            class: CallClass::Token,
        };
        let cdn = u8::from(self.spends_cdn_credits());
        let once = async |password: Option<Password>| {
            let mut request = json!({ "url": file, "single": 0, "cdn": cdn });
            if let Some(password) = password {
                request["pass"] = password.expose().into();
            }
            let answer: TokenAnswer = self.query(ask, &call, &request).await?;
            Ok(answer)
        };
        let answer = match password {
            Some(password) => once(Some(password.clone())).await?,
            None => self.passwords().with(file.id(), once).await?,
        };
        let url = answer
            .url
            .filled()
            .ok_or_else(|| malformed(call.name, "no download address"))?;
        // Refused here already, so that a link in hand is a link to the service.
        self.api_url().download(call.name, &url)?;
        Ok(DownloadLink(url))
    }
}
