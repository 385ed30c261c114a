//! The report of an upload, and the moment its files enter the account.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::query;
use crate::config::Config;
use crate::content::Content;
use crate::faults::FaultKind;
use crate::lock;
use crate::reply::WAIT;
use crate::route::{self, Answer};
use crate::rules::{Kind, seconds};
use crate::state::ROOT;
use crate::world::{Call, Via, World};

#[derive(Debug)]
pub(super) struct Report {
    pub(super) node: String,
    pub(super) at: Duration,
    pub(super) polls: u32,
    /// Files to store at the first request of the report.
    pub(super) pending: Vec<Received>,
    pub(super) links: Vec<Value>,
    pub(super) names: Vec<String>,
    pub(super) empty: bool,
}

/// A file that arrived completely.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// `None` for an upload without a key, which belongs to nobody.
    pub(super) folder: Option<u64>,
    pub(super) name: String,
    pub(super) content: Content,
    pub(super) domain: &'static str,
    pub(super) pass: String,
    pub(super) infected: bool,
}

impl Report {
    /// Puts what is pending into the account.
    pub(super) fn store(&mut self, world: &World) {
        let config = world.config();
        let visible = world.clock.now() + seconds(config.appear_delay_seconds);
        let mut state = world.account.state();
        for file in self.pending.drain(..) {
            let id = match file.folder {
                None => state.random_id(20),
                Some(folder) => {
                    let folder = if state.own_folder(folder).is_some() {
                        folder
                    } else {
                        ROOT
                    };
                    let content = file.content.clone();
                    let stored =
                        state.add_file(folder, &file.name, content, world.clock.unix(), visible);
                    let Some(stored) = stored else { continue };
                    stored.domain = file.domain;
                    stored.pass = file.pass;
                    stored.id.clone()
                }
            };
            let code = if file.folder.is_none() {
                state.random_id(5)
            } else {
                String::new()
            };
            if file.infected {
                state.remove_file(&id, Duration::ZERO, Duration::ZERO);
            }
            let remove = if code.is_empty() {
                code
            } else {
                format!("https://{}/remove/{id}/{code}", file.domain)
            };
            self.links.push(json!({
                "download": format!("https://{}/?{id}", file.domain),
                "filename": file.name,
                "size": file.content.size().to_string(),
                "whirlpool": file.content.true_checksum(),
                "remove": remove,
            }));
        }
        if config.surplus_link
            && let Some(first) = self.links.first().cloned()
        {
            let id = state.random_id(20);
            let mut surplus = first;
            surplus["download"] = json!(format!("https://1fichier.com/?{id}"));
            surplus["filename"] = json!("surplus.bin");
            self.links.push(surplus);
        }
    }
}

/// `GET /end.pl?xid=…`.
pub(crate) async fn report(call: &Arc<Call>, request: &Request<Incoming>) -> Answer {
    let world = &call.world;
    let config = world.config();
    let xid = query(request.uri().query(), "xid").unwrap_or_default();
    call.log(|e| e.params = json!({ "xid": xid }));
    let judgement = call.judge(Kind::Plain);
    if let Some(answer) = route::locked(call, &judgement) {
        return answer;
    }
    if config.enforce_rules && !judgement.breaches.is_empty() {
        lock(&world.rules).lock(world.clock.now(), &config);
        return Ok(route::flood(call));
    }
    let subjects = lock(&world.uploads)
        .reports
        .get(xid)
        .map(|r| r.names.clone())
        .unwrap_or_default();
    let fault = world.faults.pick("end.pl", &subjects);
    call.log(|e| e.fault = fault.as_ref().map(|f| format!("{f:?}")));
    call.latency(1.0).await;
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    let json_wanted = request
        .headers()
        .get("json")
        .is_some_and(|v| v == "1" || v == "2");
    let Some((links, waiting)) = look(call, xid, &config) else {
        return Ok(route::html(
            call,
            404,
            "Rapport inexistant ou expir&eacute;",
        ));
    };
    if matches!(fault, Some(FaultKind::LostReply)) {
        return route::reset(call);
    }
    if waiting {
        return Ok(route::html(call, 200, WAIT));
    }
    if !json_wanted {
        return Ok(route::html(call, 200, "Rapport d'envoi"));
    }
    let links = if matches!(fault, Some(FaultKind::EmptyReport)) {
        Vec::new()
    } else {
        links
    };
    let value = json!({ "incoming": 0, "links": links });
    if matches!(fault, Some(FaultKind::MalformedJson)) {
        let text = value.to_string().into_bytes();
        let text = text[..text.len() / 2].to_vec();
        return Ok(route::with_body(
            call,
            200,
            "application/json; charset=utf-8",
            "ko",
            text,
        ));
    }
    Ok(route::json(call, 200, &value, &Value::Null))
}

/// Links of a report, and whether the node is still at work; `None` for an unknown or expired one.
fn look(call: &Call, xid: &str, config: &Config) -> Option<(Vec<Value>, bool)> {
    let world = &call.world;
    let now = world.clock.now();
    let mut report = {
        let mut uploads = lock(&world.uploads);
        let life = seconds(config.report_life_seconds);
        uploads
            .reports
            .retain(|_, r| now.saturating_sub(r.at) <= life);
        let report = uploads.reports.get_mut(xid)?;
        if matches!(call.conn.via, Via::Tunnel(_)) && report.node != call.host {
            return None;
        }
        if report.pending.is_empty() {
            let waiting =
                report.polls > 0 || now.saturating_sub(report.at) < seconds(config.wait_seconds);
            report.polls = report.polls.saturating_sub(1);
            let links = if report.empty {
                Vec::new()
            } else {
                report.links.clone()
            };
            return Some((links, waiting));
        }
        uploads.reports.remove(xid)?
    };
    report.store(world);
    let waiting = report.polls > 0 || now.saturating_sub(report.at) < seconds(config.wait_seconds);
    report.polls = report.polls.saturating_sub(1);
    let links = if report.empty {
        Vec::new()
    } else {
        report.links.clone()
    };
    lock(&world.uploads).reports.insert(xid.to_owned(), report);
    Some((links, waiting))
}
