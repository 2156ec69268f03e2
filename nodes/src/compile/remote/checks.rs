//! What goes together, and what does not. A key that would do nothing is an error with its mend.

use super::address;
use super::policy::{Health, HopMode, Waits};
use super::{Balance, Endpoint, RemoteParams, Transport, fallback, ports, protocol};
use crate::manifest::diagnostic::shown;
use crate::manifest::units::{Span, show_duration};
use crate::registry::ParamError;

/// Most endpoints of a pool.
const ENDPOINTS_MAX: usize = 64;
/// Greatest weight of an endpoint.
const WEIGHT_MAX: u32 = 1_000;
/// Most attempts: beyond it a caller has long gone.
const ATTEMPTS_MAX: u32 = 100;
/// Largest window of a breaker.
const WINDOW_MAX: u32 = 1_000;
/// Longest wait of any kind that a manifest may ask for.
const SPAN_MAX: Span = Span::from_secs(24 * 3_600);
/// Names are not asked more often than this.
const RESOLVE_MIN: Span = Span::from_secs(1);
/// Frames and bytes of the largest replay.
const REPLAY_MAX: (u32, u64) = (1 << 20, 1 << 30);

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<ParamError>);

impl Problems {
    /// Adds one: what is wrong, and how to mend it.
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(ParamError::mended(path, what, mend));
    }
}

/// All findings.
pub(super) fn problems(node: &RemoteParams) -> Vec<ParamError> {
    let mut problems = Problems::default();
    check_pool(
        "",
        &node.endpoints,
        node.transport(),
        node.balance,
        &mut problems,
    );
    check_transport("mode", node.transport(), node.mode(), &mut problems);
    protocol::check(node, &mut problems);
    check_target(node, &mut problems);
    ports::check("inputs", node.inputs.as_deref(), &mut problems);
    ports::check("outputs", node.outputs.as_deref(), &mut problems);
    if let Some(auth) = &node.auth {
        let endpoints = node.endpoints.iter().map(|endpoint| endpoint.url.as_str());
        auth.check("auth", endpoints, &mut problems);
    }
    check_waits(node, &mut problems);
    check_retry(node, &mut problems);
    check_breaker(node, &mut problems);
    check_health(node, &mut problems);
    check_resolve(node, &mut problems);
    check_recovery(node, &mut problems);
    fallback::check(node, &mut problems);
    problems.0
}

/// The endpoints of one pool; `prefix` stands before their paths.
pub(super) fn check_pool(
    prefix: &str,
    endpoints: &[Endpoint],
    transport: Transport,
    balance: Balance,
    problems: &mut Problems,
) {
    if endpoints.is_empty() || endpoints.len() > ENDPOINTS_MAX {
        let what = format!("{} endpoints are listed", endpoints.len());
        let mend = format!("list 1 to {ENDPOINTS_MAX}");
        problems.add(format!("{prefix}endpoints"), what, mend);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("{prefix}endpoints[{index}]");
        if let Err((what, mend)) = address::check(&endpoint.url, transport) {
            problems.add(&path, what, mend);
        }
        if endpoints[..index]
            .iter()
            .any(|other| other.url == endpoint.url)
        {
            let what = format!("endpoint '{}' is listed twice", shown(&endpoint.url));
            problems.add(
                &path,
                what,
                "remove one; 'balance: weighted' gives one a larger share",
            );
        }
        let Some(weight) = endpoint.weight else {
            continue;
        };
        if matches!(balance, Balance::RoundRobin | Balance::Nearest) {
            let what = format!(
                "a weight has no effect under balance '{}'",
                balance.as_str()
            );
            let mend = "remove it, or choose 'balance: weighted' (or least_connections, p2c_ewma)";
            problems.add(path, what, mend);
        } else if weight == 0 || weight > WEIGHT_MAX {
            let what = format!("weight {weight} is out of range");
            let mend = format!("write 1 to {WEIGHT_MAX}; an endpoint not to be used is left out");
            problems.add(path, what, mend);
        }
    }
    let weighed = endpoints.iter().any(|endpoint| endpoint.weight.is_some());
    if balance == Balance::Weighted && !endpoints.is_empty() && !weighed {
        let what = "balance 'weighted' is chosen, but no endpoint has a weight";
        let mend = "write endpoints as {url: …, weight: …}, or choose another balance";
        problems.add(format!("{prefix}balance"), what, mend);
    }
}

/// Whether a transport can do what the mode asks; `path` is where to say so.
pub(super) fn check_transport(
    path: &str,
    transport: Transport,
    mode: HopMode,
    problems: &mut Problems,
) {
    if (transport, mode) == (Transport::Webrtc, HopMode::Unary) {
        let what = "a WebRTC connection for each utterance would cost more than the call";
        let mend = "choose 'mode: stream', or transport grpc, websocket or http";
        problems.add(path, what, mend);
    }
}

/// What runs there is said once.
fn check_target(node: &RemoteParams, problems: &mut Problems) {
    let named = [
        node.pipeline.is_some(),
        node.manifest.is_some(),
        node.manifest_url.is_some(),
    ];
    let bare = || node.endpoints.iter().all(|e| !address::has_path(&e.url));
    match named.into_iter().filter(|named| *named).count() {
        1 => {}
        // Whether a model is to be named, its protocol knows.
        0 if node.protocol.is_foreign() => {}
        // An HTTP service may be one thing only; and a path may say what runs there.
        0 if node.transport() == Transport::Http => {}
        0 if node.transport() != Transport::Grpc && !bare() => {}
        0 => {
            let what = "it is not said what to run there";
            problems.add("", what, "add 'pipeline', 'manifest' or 'manifest_url'");
        }
        _ => {
            let what = "'pipeline', 'manifest' and 'manifest_url' exclude each other";
            problems.add("", what, "keep one");
        }
    }
    if node.pipeline.as_deref().is_some_and(str::is_empty) {
        problems.add("pipeline", "the pipeline's name is empty", "write its name");
    }
    if let Some(url) = &node.manifest_url
        && let Err((what, mend)) = address::check(url, Transport::Http)
    {
        let what = what.replacen("endpoint", "address", 1);
        let what = what.replacen("an address", "the address", 1);
        let what = what.replacen(
            "which transport 'http' does not take",
            "by which nothing is fetched",
            1,
        );
        problems.add("manifest_url", what, mend.replace("host:port", "host/path"));
    }
    let Some(digest) = &node.manifest_sha256 else {
        return;
    };
    if node.manifest_url.is_none() {
        let what = "'manifest_sha256' has no effect without 'manifest_url'";
        problems.add("manifest_sha256", what, "remove it");
    }
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        let what = format!("'{}' is no SHA-256", shown(digest));
        let mend = "write the 64 hexadecimal digits that 'sha256sum' prints";
        problems.add("manifest_sha256", what, mend);
    }
}

/// A wait of 0 would always be over, and a part of a unary call cannot last longer than the whole. (In a stream, `call` counts
/// from the last input only.)
fn check_waits(node: &RemoteParams, problems: &mut Problems) {
    if node.timeout.is_none() {
        return;
    }
    let by_name = matches!(node.timeout, Some(super::Timeout::Each(_)));
    let Waits {
        connect,
        first_output,
        gap,
        call,
    } = node.waits();
    let all = [
        ("timeout.connect", Some(connect)),
        ("timeout.first_output", first_output),
        ("timeout.gap", gap),
        ("timeout.call", Some(call)),
    ];
    for (path, wait) in all {
        let Some(wait) = wait else { continue };
        let path = if by_name { path } else { "timeout" };
        let before = problems.0.len();
        check_span(path, Span(wait), problems);
        if problems.0.len() > before && !by_name {
            return;
        }
    }
    let parts = [("timeout.first_output", first_output), ("timeout.gap", gap)];
    for (path, wait) in parts.into_iter().filter(|_| node.mode() == HopMode::Unary) {
        if let Some(wait) = wait.filter(|wait| *wait > call) {
            let [wait, call] = [wait, call].map(show_duration);
            let what = format!("{wait} can never pass within 'timeout.call' of {call}");
            problems.add(path, what, "make it shorter, or raise 'timeout.call'");
        }
    }
}

fn check_span(path: &str, span: Span, problems: &mut Problems) {
    if span.0.is_zero() {
        problems.add(
            path,
            "a time of 0 is over at once",
            "write one such as 5s, or leave it out",
        );
    } else if span > SPAN_MAX {
        let what = format!("{} is longer than any session", show_duration(span.0));
        problems.add(path, what, "write at most 24h");
    }
}

fn check_retry(node: &RemoteParams, problems: &mut Problems) {
    let retry = node.retry;
    if retry.attempts == 0 || retry.attempts > ATTEMPTS_MAX {
        let what = format!("{} attempts cannot be made", retry.attempts);
        let mend = format!("write 1 (nothing is tried again) to {ATTEMPTS_MAX}");
        problems.add("retry.attempts", what, mend);
    }
    check_span("retry.backoff", retry.backoff, problems);
    check_order("retry.backoff", retry.backoff, retry.backoff_max, problems);
    if !(0.0..=10.0).contains(&retry.budget) {
        let what = format!("a budget of {} is out of range", retry.budget);
        let mend = "write retries for each request, 0 to 10, such as 0.2";
        problems.add("retry.budget", what, mend);
    }
}

/// The first time, which grows, is not longer than its bound.
fn check_order(path: &str, first: Span, most: Span, problems: &mut Problems) {
    if first > most {
        let [first, most] = [first, most].map(|span| show_duration(span.0));
        let name = path.rsplit('.').next().unwrap_or(path);
        let what = format!("it begins at {first}, above '{name}_max' of {most}");
        problems.add(path, what, format!("lower it, or raise '{name}_max'"));
    }
}

fn check_breaker(node: &RemoteParams, problems: &mut Problems) {
    let breaker = node.breaker;
    if breaker.failures == 0 {
        let what = "a breaker that opens after 0 failures is never shut";
        problems.add(
            "breaker.failures",
            what,
            "write 1 or more; the default is 5",
        );
    }
    if !(0.0..=1.0).contains(&breaker.success) {
        let what = format!("{} is no share of attempts", breaker.success);
        let mend = "write 0 (never opens by it) to 1, such as 0.6 for 60 %";
        problems.add("breaker.success", what, mend);
    }
    if breaker.window == 0 || breaker.window > WINDOW_MAX {
        let what = format!("a window of {} attempts cannot be judged", breaker.window);
        problems.add("breaker.window", what, format!("write 1 to {WINDOW_MAX}"));
    }
    check_span("breaker.open", breaker.open, problems);
    check_order("breaker.open", breaker.open, breaker.open_max, problems);
}

fn check_health(node: &RemoteParams, problems: &mut Problems) {
    let Health::On(checks) = &node.health else {
        return;
    };
    check_span("health.interval", checks.interval, problems);
    check_span("health.timeout", checks.timeout, problems);
    if checks.timeout > checks.interval {
        let [timeout, interval] =
            [checks.timeout, checks.interval].map(|span| show_duration(span.0));
        let what = format!("a check may take {timeout}, longer than 'interval' of {interval}");
        problems.add("health.timeout", what, "lower it, or raise 'interval'");
    }
    let Some(path) = &checks.path else { return };
    let mut transports = node.fallback.iter().map(|tier| tier.transport);
    let elsewhere = transports.any(|other| other.is_some_and(|other| other != Transport::Grpc));
    if node.transport() == Transport::Grpc && !elsewhere {
        let what = "gRPC is checked by grpc.health.v1, which has no path";
        problems.add("health.path", what, "remove it");
    } else if !path.starts_with('/') {
        let what = format!("'{}' is no path", shown(path));
        problems.add("health.path", what, "begin it with /, such as /readyz");
    }
}

/// Names are asked again.
fn check_resolve(node: &RemoteParams, problems: &mut Problems) {
    let Some(resolve) = node.resolve else { return };
    if resolve < RESOLVE_MIN {
        let what = format!(
            "{} is sooner than names are asked again",
            show_duration(resolve.0)
        );
        problems.add("resolve", what, "write at least 1s; the default is 30s");
    } else {
        check_span("resolve", resolve, problems);
    }
    let mut endpoints = node.all_endpoints();
    if !endpoints.any(|(_, endpoint)| address::is_named(&endpoint.url)) {
        let what = "no endpoint has a name, so 'resolve' has no effect";
        problems.add("resolve", what, "remove it: an address stands for itself");
    }
}

/// What a stream that breaks needs.
fn check_recovery(node: &RemoteParams, problems: &mut Problems) {
    if let (Some(true), Some(_)) = (node.deterministic, node.partial) {
        let what = "a deterministic pipeline repeats itself exactly, so 'partial' has no effect";
        problems.add(
            "partial",
            what,
            "remove it, or remove 'deterministic: true'",
        );
    }
    let Some(replay) = node.replay else { return };
    if node.mode() == HopMode::Unary {
        let what = "a unary call is repeated whole, so 'replay' has no effect";
        problems.add("replay", what, "remove it, or choose 'mode: stream'");
    }
    let (frames, bytes) = REPLAY_MAX;
    if !(1..=frames).contains(&replay.frames) || !(1..=bytes).contains(&replay.bytes.0) {
        let what = "what is kept to be sent again is out of range";
        let mend = format!("write 1 to {frames} frames and 1B to 1GiB");
        problems.add("replay", what, mend);
    }
}
