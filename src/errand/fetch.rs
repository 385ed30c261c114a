//! Errands about what the service fetches itself (API reference 8). It can be asked for and looked at; the
//! service has no call that takes a request back.
use super::asked::{Headers, Target, is_fetchable};
use super::done::{Done, FetchResult, FetchedUrl, Fetching, Job};
use super::refusal::Refusal;
use super::run::{Desk, News, Places};
use crate::api::{ErrorKind, FileUrl, RemoteJob};

/// Addresses of one request at most: what other clients have used (API reference 8).
pub const URLS_AT_ONCE: usize = 5;

/// Requests told of at most, so that the answer fits in its line.
const MOST_JOBS: usize = 1000;

impl<P: Places> Desk<'_, P> {
    /// Asks the service to fetch.
    pub(super) async fn fetch(
        &self,
        urls: Vec<String>,
        into: &Target,
        headers: &Headers,
    ) -> Result<Done, Refusal> {
        if let Some(wrong) = urls.iter().find(|url| !is_fetchable(url)) {
            return Err(Refusal(format!(
                "{wrong}: the service fetches http:// and https:// addresses only"
            )));
        }
        if urls.is_empty() || urls.len() > URLS_AT_ONCE {
            return Err(Refusal(format!(
                "from 1 to {URLS_AT_ONCE} addresses are fetched by one request"
            )));
        }
        let (subject, id) = self
            .folder(into, "this is a file; what is fetched goes into a folder")
            .await?;
        let asked: Vec<&str> = urls.iter().map(String::as_str).collect();
        let number = self
            .client
            .remote_request(&self.ask(), &asked, id, &headers.each())
            .await
            .map_err(|error| Refusal::of_call(&urls.join(" "), &error))?;
        self.places.hear(News::Fetching {
            id: number,
            folder: id,
        });
        Ok(Done::Fetching(Fetching {
            id: number,
            into: subject.path,
            urls,
        }))
    }

    /// The requests the service knows of.
    pub(super) async fn fetches(&self) -> Result<Done, Refusal> {
        let jobs = self.client.remote_ls(&self.ask()).await;
        let mut jobs: Vec<Job> = jobs
            .map_err(|error| Refusal::of_call("fetch --list", &error))?
            .iter()
            .map(job)
            .collect();
        jobs.sort_by_key(|job| job.id);
        let left_out = jobs.len().saturating_sub(MOST_JOBS);
        jobs.drain(..left_out);
        Ok(Done::Fetches { jobs })
    }

    /// What became of a request.
    pub(super) async fn fetched(&self, id: u64) -> Result<Done, Refusal> {
        let detail = self
            .client
            .remote_info(&self.ask(), id)
            .await
            .map_err(|error| match error.kind {
                ErrorKind::NotFound => Refusal(format!(
                    "the service knows no request {id}; see: fichierfs fetch --list"
                )),
                _ => Refusal::of_call(&format!("request {id}"), &error),
            })?;
        let results = detail.results.iter().map(|it| FetchedUrl {
            url: it.source.to_string(),
            file: it.file.as_ref().map(FileUrl::to_string),
            status: it.status.to_string(),
            message: it.message.to_string(),
        });
        let result = FetchResult {
            job: job(&detail.job),
            urls: detail.links.iter().map(ToString::to_string).collect(),
            results: results.collect(),
        };
        if result.is_over() {
            let files = detail.results.iter().filter_map(|it| it.file.as_ref());
            self.places.hear(News::Fetched {
                id,
                files: files.map(FileUrl::id).collect(),
            });
        }
        Ok(Done::Fetched(result))
    }
}

fn job(job: &RemoteJob) -> Job {
    Job {
        id: job.id,
        requested: job.requested,
        executed: job.executed,
    }
}
