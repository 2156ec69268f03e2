//! The check of WebRTC workers: WebRTC itself, without a session.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::{http, unmade};
use crate::auth::Credential;
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::pool::Member;
use crate::webrtc;

pub(super) async fn check(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Code> {
    match webrtc::ping(connector, member, credential, clock).await {
        Ok(Some(took)) => Ok(took),
        // What it is asked then says less, and no less than of any other server.
        Ok(None) => http::check(connector, member, (None, None), credential, clock).await,
        Err(RemoteError::Config(error)) => Err(unmade(member, &error)),
        Err(error) => {
            tracing::debug!(endpoint = %member, %error, "endpoint's WebRTC does not work");
            Err(error.code())
        }
    }
}
