//! WHIP and WHEP above HTTP (RFC 9725, RFC 8840) without an HTTP server: fragments, entity tags,
//! `Link` headers.
//!
//! Pure functions and values; the gateway moves the bytes. Absent: routing, authentication, state.

use std::net::SocketAddr;

use crate::error::SignalingError;
use crate::ice::Credentials;
use crate::sdp::{candidate_lines, parse_candidate, parse_ice_text};

/// The content type of offers and answers.
pub const SDP_TYPE: &str = "application/sdp";
/// The content type of a `PATCH`.
pub const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Candidates that one fragment may have; the rest is ignored.
const MAX_CANDIDATES: usize = 64;

/// A parsed `PATCH` (RFC 8840 §9): more candidates of a client, or its new credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    credentials: Option<Credentials>,
    candidates: Vec<SocketAddr>,
    end_of_candidates: bool,
}

impl Fragment {
    /// Reads a fragment of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`SignalingError::TooLarge`], or [`SignalingError::Malformed`] for lines that are no SDP, one
    /// credential without the other, or nothing at all.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Self, SignalingError> {
        const WHAT: &str = "fragment";
        if text.len() > max_bytes {
            return Err(SignalingError::TooLarge {
                what: WHAT,
                size: text.len(),
                limit: max_bytes,
            });
        }
        let (mut ufrag, mut password) = (None, None);
        let (mut candidates, mut end_of_candidates) = (Vec::new(), false);
        let mut lines = 0usize;
        for line in text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
        {
            lines += 1;
            let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.len() == 1) else {
                return Err(SignalingError::malformed(
                    WHAT,
                    format!("line {lines} is no SDP"),
                ));
            };
            if key != "a" {
                continue;
            }
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            match name {
                "ice-ufrag" => ufrag = Some(parse_ice_text(WHAT, name, value, 4)?),
                "ice-pwd" => password = Some(parse_ice_text(WHAT, name, value, 22)?),
                "candidate" if candidates.len() < MAX_CANDIDATES => {
                    candidates.extend(parse_candidate(value));
                }
                "end-of-candidates" => end_of_candidates = true,
                _ => {}
            }
        }
        if lines == 0 {
            return Err(SignalingError::malformed(WHAT, "it is empty"));
        }
        let credentials = match (ufrag, password) {
            (Some(ufrag), Some(password)) => Some(Credentials { ufrag, password }),
            (None, None) => None,
            _ => {
                let reason = "a=ice-ufrag and a=ice-pwd go together";
                return Err(SignalingError::malformed(WHAT, reason));
            }
        };
        Ok(Self {
            credentials,
            candidates,
            end_of_candidates,
        })
    }

    /// The client's user name fragment, if the fragment has it.
    #[must_use]
    pub fn ufrag(&self) -> Option<&str> {
        self.credentials
            .as_ref()
            .map(|credentials| credentials.ufrag.as_str())
    }

    /// Addresses that can be used; names and TCP are left out.
    #[must_use]
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    /// No more will come.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.end_of_candidates
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

/// Our side of a restarted ICE, to be told to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceParameters {
    /// The bundle and the start of its first section, as the answer had them.
    head: String,
    credentials: Credentials,
    candidates: Vec<SocketAddr>,
}

impl IceParameters {
    pub(crate) fn new(head: &str, local: &Credentials, candidates: &[SocketAddr]) -> Self {
        Self {
            head: head.to_owned(),
            credentials: local.clone(),
            candidates: candidates.to_vec(),
        }
    }

    /// The body of the 200 response to a restart (RFC 9725 §4.3.3).
    #[must_use]
    pub fn to_fragment(&self) -> String {
        let Credentials { ufrag, password } = &self.credentials;
        let candidates = candidate_lines(&self.candidates);
        format!(
            "{}a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{candidates}",
            self.head
        )
    }
}

/// The strong entity tag of an ICE generation, from our user name fragment (RFC 9725 §4.3.1).
#[must_use]
pub fn etag(local_ufrag: &str) -> String {
    format!("\"{local_ufrag}\"")
}

/// What a `PATCH` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// More candidates: 204, no body.
    Trickle,
    /// New credentials: 200 with [`IceParameters::to_fragment`] and the new [`etag`].
    Restart,
}

/// Why a `PATCH` is refused by its preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchRefusal {
    /// 428: there is no `If-Match`.
    PreconditionRequired,
    /// 412: it names another ICE generation.
    PreconditionFailed,
}

impl PatchRefusal {
    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::PreconditionRequired => 428,
            Self::PreconditionFailed => 412,
        }
    }
}

/// Judges a `PATCH` by its `If-Match` (RFC 9725 §4.3.1, RFC 9110 §13.1.1). `current` is the [`etag`] of
/// the session now, `remote_ufrag` what the client's side is now.
///
/// # Errors
///
/// See [`PatchRefusal`].
pub fn judge_patch(
    if_match: Option<&str>,
    current: &str,
    remote_ufrag: &str,
    fragment: &Fragment,
) -> Result<Patch, PatchRefusal> {
    let Some(if_match) = if_match else {
        return Err(PatchRefusal::PreconditionRequired);
    };
    // Clients quote the asterisk, as the examples of the RFC do; the grammar has it bare.
    let any = matches!(if_match.trim(), "*" | "\"*\"");
    if !any && !if_match.split(',').any(|tag| tag.trim() == current) {
        return Err(PatchRefusal::PreconditionFailed);
    }
    match fragment.ufrag() {
        Some(ufrag) if ufrag != remote_ufrag => Ok(Patch::Restart),
        _ => Ok(Patch::Trickle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTART: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n\
        a=candidate:2 1 udp 2130706430 abc.local 5000 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn a_fragment_gives_credentials_and_the_usable_candidates() {
        let fragment = Fragment::parse(RESTART, 4096).unwrap();
        assert_eq!(fragment.ufrag(), Some("EsAw"));
        assert_eq!(
            fragment.candidates(),
            [SocketAddr::from(([192, 0, 2, 1], 5000))]
        );
        assert!(fragment.is_last());
    }

    #[test]
    fn a_fragment_that_is_no_sdp_or_half_a_credential_is_malformed() {
        for text in [
            "",
            "hello",
            "a=ice-ufrag:EsAw",
            "a=ice-pwd:short\r\na=ice-ufrag:EsAw",
            "{}",
        ] {
            let error = Fragment::parse(text, 4096).unwrap_err();
            assert_eq!(error.http_status(), 400, "{text}");
        }
        assert_eq!(Fragment::parse(RESTART, 10).unwrap_err().http_status(), 413);
    }

    #[test]
    fn preconditions_decide_between_trickle_restart_and_refusal() {
        let current = etag("ours");
        let restart = Fragment::parse(RESTART, 4096).unwrap();
        let judge = |if_match, remote| judge_patch(if_match, &current, remote, &restart);
        assert_eq!(judge(None, "EsAw"), Err(PatchRefusal::PreconditionRequired));
        assert_eq!(
            judge(Some("\"other\""), "EsAw"),
            Err(PatchRefusal::PreconditionFailed)
        );
        assert_eq!(judge(Some("\"ours\""), "EsAw"), Ok(Patch::Trickle));
        assert_eq!(judge(Some("\"a\", \"ours\""), "EsAw"), Ok(Patch::Trickle));
        assert_eq!(judge(Some("*"), "before"), Ok(Patch::Restart));
        assert_eq!(judge(Some("\"*\""), "before"), Ok(Patch::Restart));
    }
}
