//! An address that changes are posted to, as JSON: see docs/schema/on-change.json.
//!
//! Promises: http and https only, certificates are checked; no redirect is followed, so nobody but the host that
//! was named hears which folders there are; no proxy; the answer's body is not read. The address may hold a
//! token: it is not printed beyond its host.
use super::{Changed, Place};
use crate::util::crypto;
use reqwest::{Client, Url};
use serde::Serialize;
use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// An address. It may hold a token.
pub struct Web {
    url: Url,
    client: Client,
}

/// Why an address cannot be used; without the address.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// It is none, or not of http or https.
    #[error("the address of on-change is not of the form http://HOST:PORT/PATH or https://…")]
    Malformed,
    /// No client can be made.
    #[error("cannot prepare calls of on-change: {0}")]
    Client(String),
}

impl Web {
    /// Prepares to post to `url`.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(url).map_err(|_| BadUrl::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BadUrl::Malformed);
        }
        crypto::install();
        let mut builder = Client::builder()
            .user_agent(concat!("fichierfs/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT);
        if url.scheme() == "http" {
            // Not even the system's certificates are looked for.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build();
        let client = client.map_err(|error| BadUrl::Client(error.to_string()))?;
        Ok(Self { url, client })
    }

    /// Its host, for people.
    pub(super) fn name(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}"));
        format!(
            "{}://{}{}",
            self.url.scheme(),
            self.url.host_str().unwrap_or_default(),
            port.unwrap_or_default()
        )
    }

    /// Posts what changed; an error says what came of it.
    pub(super) async fn post(
        &self,
        place: &Place,
        changed: &Changed,
        limit: Duration,
    ) -> Result<(), String> {
        let body = Body::new(place, changed);
        let request = self
            .client
            .post(self.url.clone())
            .json(&body)
            .timeout(limit);
        let answer = request.send().await.map_err(why)?;
        let status = answer.status();
        if status.is_success() {
            Ok(())
        } else if status.is_redirection() {
            Err(format!(
                "it answered {status}, and redirects are not followed"
            ))
        } else {
            Err(format!("it answered {status}"))
        }
    }
}

/// What a failed request means, without its address.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Web").field(&self.name()).finish()
    }
}

/// What is posted. `Updates` is what Jellyfin and Emby take at `/Library/Media/Updated`.
#[derive(Debug, Serialize)]
struct Body<'a> {
    account: &'a str,
    mountpoint: String,
    folders: Vec<String>,
    everything: bool,
    #[serde(rename = "Updates")]
    updates: Vec<Update>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    path: String,
    update_type: &'static str,
}

impl<'a> Body<'a> {
    fn new(place: &'a Place, changed: &Changed) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let folders: Vec<String> = changed.folders.iter().map(|path| text(path)).collect();
        let updates = folders.iter().map(|path| Update {
            path: path.clone(),
            update_type: "Modified",
        });
        Self {
            account: &place.account,
            mountpoint: text(&place.mountpoint),
            everything: changed.everything,
            updates: updates.collect(),
            folders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_its_token_not_shown() {
        for bad in ["", "ftp://host/", "http://", "not one", "//host/x"] {
            let error = Web::new(bad).unwrap_err().to_string();
            assert!(error.contains("http://HOST"), "{bad}: {error}");
        }
        let web = Web::new("http://user:s3cret@127.0.0.1:8096/Library?api_key=s3cret").unwrap();
        let shown = format!("{web:?} {}", web.name());
        assert!(
            shown.contains("http://127.0.0.1:8096") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
