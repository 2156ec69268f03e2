//! One active check of one endpoint, by the protocol that its hop speaks.
//!
//! | transport | check | well if |
//! | --- | --- | --- |
//! | `grpc` | `grpc.health.v1.Health/Check` of the whole server | it says `SERVING`, or answers that it has no such service |
//! | `webrtc` | an offer to `/v1/whip/ping`, ICE, DTLS and a word on a data channel, without a session | the word comes back; of a server that has nothing like it, or where a path is configured, as below |
//! | `grpc` of `kserve` | `ModelReady` of the hop's model | it is |
//! | others | `GET` of a path, `/readyz` by default | it answers 2xx; without a configured path also 3xx and 4xx |
//!
//! A check asks whether the endpoint could serve: that it refuses the check itself does not mean that it would refuse a hop.
//! When checks are due, how long they may take and what follows is the pool's affair.

mod grpc;
mod http;
mod webrtc;
mod wyoming;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code;
use tidegate_nodes::compile::remote::Protocol;

use crate::connector::Connector;
use crate::pool::Member;
use crate::pools::Checks;
use crate::transport::Transport;

/// Makes one check. Returns its round trip, connecting left out where that can be told apart. Has no limit of its own; cancel safe.
pub(crate) async fn check(
    connector: &Connector,
    member: &Member,
    checks: &Checks,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Code> {
    let credential = checks.auth.read(connector.files(), clock());
    let credential = credential.map_err(|error| unmade(member, &error.to_string()))?;
    if let Protocol::WyomingAsr | Protocol::WyomingTts = checks.protocol {
        return wyoming::check(connector, member, &credential, clock).await;
    }
    match (checks.transport, &checks.model) {
        (Transport::Grpc, Some(model)) => {
            grpc::check_model(connector, member, &credential, model, clock).await
        }
        (Transport::Grpc, None) => grpc::check(connector, member, &credential, clock).await,
        (Transport::Webrtc, _) if checks.path.is_none() => {
            webrtc::check(connector, member, &credential, clock).await
        }
        _ => {
            http::check(
                connector,
                member,
                (checks.path.as_deref(), checks.usual),
                &credential,
                clock,
            )
            .await
        }
    }
}

/// Says why a check could not even be made.
fn unmade(member: &Member, error: &str) -> Code {
    tracing::debug!(endpoint = %member, error, "endpoint cannot be checked");
    Code::ManifestInvalid
}
