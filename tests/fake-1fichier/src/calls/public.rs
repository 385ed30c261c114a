//! The public page of a shared folder, `/dir/<id>` (API reference 11).

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::route::{self, Answer};
use crate::state::StoredFile;
use crate::world::Call;

pub(crate) async fn folder(call: &Arc<Call>, request: &Request<Incoming>) -> Answer {
    let link = request.uri().path().trim_start_matches("/dir/");
    let query = request.uri().query().unwrap_or_default();
    call.log(|e| e.params = json!({ "link": link, "query": query }));
    let fault = call.world.faults.pick(&call.endpoint, &[link.to_owned()]);
    call.log(|e| e.fault = fault.as_ref().map(|f| format!("{f:?}")));
    call.latency(1.0).await;
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    let now = call.world.clock.now();
    let files: Option<Vec<StoredFile>> = {
        let state = call.world.account.state();
        // With a password the page asks for it; a form is not understood here.
        let folder = state
            .shared(link)
            .filter(|f| f.share.as_ref().is_some_and(|(_, pass)| pass.is_empty()));
        folder.map(|f| state.listed(f.id, now).into_iter().cloned().collect())
    };
    let Some(files) = files else {
        return Ok(route::html(call, 404, "Dossier inexistant"));
    };
    if query.split('&').any(|part| part == "e=1") {
        let lines: Vec<String> = files
            .iter()
            .map(|f| format!("{};{};{}\n", f.url(), f.name, f.content.size()))
            .collect();
        return Ok(route::with_body(
            call,
            200,
            "text/plain; charset=utf-8",
            "text",
            lines.concat(),
        ));
    }
    if !query
        .split('&')
        .any(|part| part == "json=1" || part == "json=2")
    {
        return Ok(route::html(call, 200, "Dossier"));
    }
    let items: Vec<Value> = files
        .iter()
        .map(|f| json!({ "filename": f.name, "link": f.url(), "size": f.content.size() }))
        .collect();
    Ok(route::json(call, 200, &Value::Array(items), &Value::Null))
}
