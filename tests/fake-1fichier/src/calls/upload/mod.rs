//! Uploads: the node, the body, the report (API reference 6). Here: the node, and the way of a POST.

mod receiver;
mod report;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue, LOCATION, TRANSFER_ENCODING};
use hyper::{Method, Request};
use serde_json::{Value, json};

use self::receiver::{Receiver, Stop};
use self::report::Report;
use crate::config::UploadAnswer;
use crate::faults::FaultKind;
use crate::lock;
use crate::reply::page;
use crate::route::{self, Answer};
use crate::rules::{Kind, seconds};
use crate::shape::piece;
use crate::world::{Call, Via, World};

pub(crate) use self::report::report;

/// Pause between two pieces of a stalled upload, real time: without reading at all the end of the client would
/// never be seen.
const STALL_TICK: Duration = Duration::from_secs(5);

/// Upload nodes in turn.
const NODES: usize = 12;

/// Sessions and reports of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Ids handed out and not used: node and time.
    fresh: HashMap<String, (String, Duration)>,
    reports: HashMap<String, Report>,
}

/// `upload/get_upload_server`: a fresh pair each time.
pub(crate) fn node(call: &Arc<Call>) -> Value {
    let world = &call.world;
    let config = world.config();
    let now = world.clock.now();
    let node = match &call.conn.via {
        Via::Tunnel(_) => format!("up{}.1fichier.com", world.next_turn() % NODES + 1),
        _ => call.host.clone(),
    };
    let id = new_id(world);
    let mut uploads = lock(&world.uploads);
    let life = seconds(config.node_id_life_seconds);
    uploads
        .fresh
        .retain(|_, (_, at)| now.saturating_sub(*at) <= life);
    let life = seconds(config.report_life_seconds);
    uploads
        .reports
        .retain(|_, report| now.saturating_sub(report.at) <= life);
    uploads.fresh.insert(id.clone(), (node.clone(), now));
    json!({ "url": node, "id": id })
}

fn new_id(world: &World) -> String {
    let mut rng = lock(&world.rng);
    (0..10).map(|_| rng.alphanumeric()).collect()
}

/// `POST /upload.cgi?id=…`.
pub(crate) async fn receive(call: &Arc<Call>, request: Request<Incoming>) -> Answer {
    let world = Arc::clone(&call.world);
    let config = world.config();
    let judgement = call.judge(Kind::Plain);
    let mut refusal = None;
    if let Some(answer) = route::locked(call, &judgement) {
        refusal = Some(answer);
    } else if config.enforce_rules && !judgement.breaches.is_empty() {
        lock(&world.rules).lock(world.clock.now(), &config);
        refusal = Some(Ok(route::flood(call)));
    }
    let (head, mut body) = request.into_parts();
    if let Some(answer) = refusal {
        drain(call, &mut body).await?;
        return answer;
    }
    if head.method != Method::POST {
        return Ok(route::html(call, 405, "405 Method Not Allowed"));
    }
    if head.headers.contains_key(TRANSFER_ENCODING) || !head.headers.contains_key(CONTENT_LENGTH) {
        return Ok(route::html(call, 411, "411 Length Required"));
    }
    let id = query(head.uri.query(), "id").unwrap_or_default().to_owned();
    let mut receiver = match Receiver::start(call, &head.headers, &id) {
        Ok(receiver) => receiver,
        Err(stop) => {
            drain(call, &mut body).await?;
            return end(call, stop);
        }
    };
    let mut stop = None;
    let mut unpaced = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        call.log(|e| e.bytes_received += data.len() as u64);
        // Timers count in milliseconds, so that pieces as small as these would be slowed down by them.
        unpaced += data.len();
        if unpaced >= piece(world.shape().connection_bytes_per_second) {
            call.pace(std::mem::take(&mut unpaced), true).await;
        }
        if stop.is_some() {
            continue;
        }
        match receiver.take(call, &data) {
            Ok(()) => {}
            Err(Stop::Refuse(status, text)) => stop = Some(Stop::Refuse(status, text)),
            Err(broken) => return end(call, broken),
        }
        if world.config().offline {
            return route::reset(call);
        }
        if let Some(FaultKind::StallAfter { bytes }) = &receiver.fault
            && receiver.received >= *bytes
        {
            return stall(&mut body).await;
        }
    }
    call.pace(unpaced, true).await;
    call.latency(1.0).await;
    if let Some(stop) = stop {
        return end(call, stop);
    }
    let fault = receiver.fault.clone();
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    match receiver.finish(call) {
        Err(stop) => end(call, stop),
        Ok(_) if matches!(fault, Some(FaultKind::LostReply)) => route::reset(call),
        Ok(xid) => Ok(done(call, &xid)),
    }
}

fn done(call: &Arc<Call>, xid: &str) -> hyper::Response<crate::body::Body> {
    if call.world.config().upload_answer == UploadAnswer::Page {
        return route::html(call, 200, "Fichier(s) re&ccedil;u(s)");
    }
    let mut response = route::with_body(
        call,
        302,
        "text/html; charset=utf-8",
        "redirect",
        page("302 Found"),
    );
    if let Ok(location) = HeaderValue::from_str(&format!("/end.pl?xid={xid}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn end(call: &Arc<Call>, stop: Stop) -> Answer {
    match stop {
        Stop::Refuse(status, text) => Ok(route::html(call, status, text)),
        Stop::Break(e) => Err(e),
        Stop::Reset => route::reset(call),
    }
}

/// Reads next to nothing, until the client gives up.
async fn stall(body: &mut Incoming) -> Answer {
    while let Some(frame) = body.frame().await {
        frame.map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e))?;
        tokio::time::sleep(STALL_TICK).await;
    }
    std::future::pending().await
}

/// Reads and forgets the rest of a body, so that the client sees the answer and not a broken connection.
async fn drain(call: &Call, body: &mut Incoming) -> io::Result<()> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e))?;
        if let Some(data) = frame.data_ref() {
            call.log(|e| e.bytes_received += data.len() as u64);
            call.pace(data.len(), true).await;
        }
    }
    Ok(())
}

/// A parameter of a query string.
fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
