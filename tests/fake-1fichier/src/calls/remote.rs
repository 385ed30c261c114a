//! `remote/*` (API reference 8). Nothing is fetched from anywhere: after a minute each URL becomes a small file, but
//! for those of hosts below `.invalid`, which cannot be found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::calls::folder::writable;
use crate::calls::{folder_id, int, texts};
use crate::content::Content;
use crate::reply::{Ko, Outcome};
use crate::state::{ROOT, StoredFile};
use crate::world::World;
use crate::{lock, names, paris};

/// Virtual time until a job is executed.
const DELAY: Duration = Duration::from_secs(60);

/// Size of the file a job leaves behind, in bytes.
const SIZE: u64 = 4096;

/// URLs in one request.
const MAX_URLS: usize = 100;

/// Jobs kept; older ones are forgotten.
const MAX_JOBS: usize = 1000;

#[derive(Debug)]
struct Job {
    requested: Duration,
    folder: u64,
    sources: Vec<String>,
    /// URLs made, once executed; `None` for a source that cannot be fetched.
    links: Option<Vec<Option<String>>>,
}

/// Jobs by their id.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    last: i64,
    jobs: BTreeMap<i64, Job>,
}

pub(crate) fn request(world: &World, params: &Map<String, Value>) -> Outcome {
    let urls = texts(params, "urls")?;
    let folder = folder_id(params, "folder_id")?.unwrap_or(ROOT);
    if urls.len() > MAX_URLS
        || urls
            .iter()
            .any(|u| !u.starts_with("http://") && !u.starts_with("https://"))
    {
        return Err(Ko::bad_parameter("urls"));
    }
    headers(params)?;
    writable(&world.account.state(), folder)?;
    let now = world.clock.now();
    let mut jobs = lock(&world.jobs);
    jobs.last += 1;
    let id = jobs.last;
    let sources: Vec<String> = urls.into_iter().map(str::to_owned).collect();
    let out = json!({
        "status": "OK",
        "id": id,
        "date": date(now),
        "urls": sources,
        "headers": params.get("headers").cloned().unwrap_or(json!({})),
    });
    jobs.jobs.insert(
        id,
        Job {
            requested: now,
            folder,
            sources,
            links: None,
        },
    );
    if jobs.jobs.len() > MAX_JOBS {
        jobs.jobs.pop_first();
    }
    Ok(out)
}

pub(crate) fn ls(world: &World) -> Value {
    execute(world);
    let jobs = lock(&world.jobs);
    let data: Vec<Value> = jobs.jobs.iter().map(|(id, job)| head(*id, job)).collect();
    json!({ "status": "OK", "data": data })
}

pub(crate) fn info(world: &World, params: &Map<String, Value>) -> Outcome {
    let id = int(params, "id")?.ok_or_else(|| Ko::bad_parameter("id"))?;
    execute(world);
    let jobs = lock(&world.jobs);
    let job = jobs.jobs.get(&id).ok_or_else(Ko::not_found)?;
    let mut out = head(id, job);
    let links = job.links.clone().unwrap_or_default();
    let result: Vec<Value> = job
        .sources
        .iter()
        .zip(&links)
        .map(|(url, link)| match link {
            Some(link) => {
                json!({ "status": "OK", "url": url, "download_link": link, "message": "" })
            }
            None => json!({
                "status": "KO", "url": url, "download_link": "", "message": "Can't resolve host",
            }),
        })
        .collect();
    out["status"] = json!("OK");
    out["links"] = json!(job.sources);
    out["result"] = json!(result);
    Ok(out)
}

/// Carries out the jobs whose time has come.
fn execute(world: &World) {
    let now = world.clock.now();
    let due: Vec<(i64, u64, Vec<String>)> = lock(&world.jobs)
        .jobs
        .iter_mut()
        .filter(|(_, job)| job.links.is_none() && now >= job.requested + DELAY)
        .map(|(id, job)| {
            job.links = Some(Vec::new());
            (*id, job.folder, job.sources.clone())
        })
        .collect();
    for (id, folder, sources) in due {
        let mut links = Vec::new();
        for source in &sources {
            if host(source).ends_with(".invalid") {
                links.push(None);
                continue;
            }
            let name = names::file_from_upload(source).unwrap_or_else(|_| "remote.bin".to_owned());
            let content = Content::synthetic(SIZE, id.unsigned_abs());
            let mut state = world.account.state();
            let file = state.add_file(folder, &name, content, world.clock.unix(), now);
            links.push(file.map(|f| StoredFile::url(f)));
        }
        if let Some(job) = lock(&world.jobs).jobs.get_mut(&id) {
            job.links = Some(links);
        }
    }
}

/// Checks the extra request headers (reference 8): an object of names to values of a small alphabet.
fn headers(params: &Map<String, Value>) -> Result<(), Ko> {
    let bad = || Ko::bad_parameter("headers");
    let Some(headers) = params.get("headers") else {
        return Ok(());
    };
    for (name, value) in headers.as_object().ok_or_else(bad)? {
        let value = value.as_str().ok_or_else(bad)?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_value = |c: char| c.is_ascii_alphanumeric() || " \t-_+=%?,'\"/".contains(c);
        if name.is_empty() || !name.bytes().all(is_name) || !value.chars().all(is_value) {
            return Err(bad());
        }
    }
    Ok(())
}

/// The host of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#', ':']).next().unwrap_or_default()
}

fn head(id: i64, job: &Job) -> Value {
    let executed = job
        .links
        .as_ref()
        .map(|_| date(job.requested + DELAY))
        .unwrap_or_default();
    json!({ "id": id, "request_date": date(job.requested), "execution_date": executed })
}

fn date(at: Duration) -> String {
    paris::format(i64::try_from(at.as_secs()).unwrap_or(i64::MAX))
}
