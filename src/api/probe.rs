//! Whether the service's machine can be reached, step by step, without a call: no request is sent, so nothing
//! counts against the account.
use super::client::Settings;
use super::dial::Dialer;
use super::hosts::ApiUrl;
use super::transport::SetupError;
use hyper::Uri;
use std::net::SocketAddr;
use std::time::Duration;

/// How long each step may take: three lost packets, and less than a person's patience.
const STEP: Duration = Duration::from_secs(8);

/// How far the way to the service goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The machine that is connected to: the service's, or the proxy's.
    pub host: String,
    /// Whether that is a proxy.
    pub is_proxy: bool,
    /// How many addresses its name has, or why it has none.
    pub names: Result<usize, String>,
    /// Whether a connection came about; `None` when it was not tried.
    pub tcp: Option<Result<(), String>>,
    /// Whether the service proved who it is; `None` when it was not tried, or nothing is encrypted.
    pub tls: Option<Result<(), String>>,
}

/// Looks how far the way to the service goes.
pub async fn reach(settings: &Settings) -> Result<Reach, SetupError> {
    let dialer = Dialer::new(settings)?;
    let service = address(&settings.api_url);
    let (first, is_proxy) = dialer.first_hop(&service);
    let host = first.host().unwrap_or_default();
    let port = first.port_u16().unwrap_or(match first.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    let plain_host = host.trim_start_matches('[').trim_end_matches(']');
    let mut reach = Reach {
        host: format!("{host}:{port}"),
        is_proxy,
        names: Ok(0),
        tcp: None,
        tls: None,
    };
    let found = within(tokio::net::lookup_host((plain_host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            reach.names = Err(error);
            return Ok(reach);
        }
    };
    reach.names = Ok(addresses.len());
    let connected = within(tokio::net::TcpStream::connect(&*addresses)).await;
    let goes_on = connected.is_ok() && (is_proxy || !settings.api_url.is_plain());
    reach.tcp = Some(connected.map(drop));
    if goes_on {
        reach.tls = Some(within(dialer.dial(&service)).await.map(drop));
    }
    Ok(reach)
}

fn address(api_url: &ApiUrl) -> Uri {
    let url = api_url.call("");
    let scheme = if api_url.is_plain() { "http" } else { "https" };
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{scheme}://{host}{port}/")
        .parse()
        .unwrap_or_default()
}

async fn within<T>(step: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(STEP, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", STEP.as_secs())),
    }
}
