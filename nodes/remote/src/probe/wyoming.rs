//! The check of a Wyoming server: it is asked what it can do.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::unmade;
use crate::auth::Credential;
use crate::connector::Connector;
use crate::dial::{Place, dial};
use crate::error::RemoteError;
use crate::pool::Member;
use crate::wyoming::is_there;

/// One question on a connection of its own, which is what a call will need as well.
pub(super) async fn check(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Code> {
    let place = Place::of(member).map_err(|error| unmade(member, &error.to_string()))?;
    let stream = match dial(connector, &place, credential.tls()).await {
        Err(RemoteError::Config(error)) => return Err(unmade(member, &error)),
        other => other.map_err(|_| Code::Network)?,
    };
    let began = clock();
    is_there(stream).await.map_err(|error| error.code())?;
    Ok(clock() - began)
}
