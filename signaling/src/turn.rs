//! STUN and TURN servers that clients are told of, and credentials for them.
//!
//! A grant is made per client: with a shared secret it expires (the TURN REST scheme that coturn
//! calls `use-auth-secret`), so a leaked one is soon worthless. Absent: being such a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rtc::crypto::{HmacAlgorithm, default_provider};

use crate::error::SignalingError;

/// How a client proves itself to a server.
#[derive(Clone, PartialEq, Eq)]
pub enum IceServerAuth {
    /// Not at all: STUN.
    Open,
    /// One name and password for everybody.
    Static {
        /// The name.
        username: String,
        /// The password.
        credential: String,
    },
    /// A secret shared with the server, of which each client gets a derived, expiring password.
    SharedSecret {
        /// The secret.
        secret: String,
        /// How long a grant holds, in seconds.
        seconds: u64,
    },
}

impl std::fmt::Debug for IceServerAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Static { .. } => "Static(…)",
            Self::SharedSecret { .. } => "SharedSecret(…)",
        })
    }
}

/// A server for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceServer {
    urls: Vec<String>,
    auth: IceServerAuth,
}

/// What one client is given: the same three fields as a browser's `RTCIceServer`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServerGrant {
    /// `stun:`, `stuns:`, `turn:` or `turns:` addresses.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

impl IceServer {
    /// A server at `urls` (RFC 7064, RFC 7065).
    ///
    /// # Errors
    ///
    /// [`SignalingError::Malformed`] if an address has another scheme, no host, or letters that a
    /// header cannot carry; if TURN is to be open; or if a name or secret is empty.
    pub fn new(urls: Vec<String>, auth: IceServerAuth) -> Result<Self, SignalingError> {
        let malformed = |reason: String| Err(SignalingError::malformed("ICE server", reason));
        for url in &urls {
            let Some((scheme, host)) = url.split_once(':') else {
                return malformed(format!("`{url}` is no address: write `turn:host:port`"));
            };
            let known = matches!(scheme, "stun" | "stuns" | "turn" | "turns");
            let clean = url
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b));
            if !known || host.is_empty() || host.starts_with('/') || !clean {
                return malformed(format!("`{url}` is no address: write `turn:host:port`"));
            }
            if scheme.starts_with("turn") && auth == IceServerAuth::Open {
                return malformed(format!("`{url}` needs a name and password or a secret"));
            }
        }
        let empty = match &auth {
            IceServerAuth::Open => urls.is_empty(),
            IceServerAuth::Static {
                username,
                credential,
            } => username.is_empty() || credential.is_empty(),
            IceServerAuth::SharedSecret { secret, .. } => secret.is_empty(),
        };
        if empty || urls.is_empty() {
            return malformed("addresses, names and secrets must not be empty".to_owned());
        }
        Ok(Self { urls, auth })
    }

    /// A grant for `user`, who is only a label in the server's log, at `unix_seconds`.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Internal`] if the cryptography library cannot compute an HMAC.
    pub fn grant(&self, user: &str, unix_seconds: u64) -> Result<IceServerGrant, SignalingError> {
        let (username, credential) = match &self.auth {
            IceServerAuth::Open => (None, None),
            IceServerAuth::Static {
                username,
                credential,
            } => (Some(username.clone()), Some(credential.clone())),
            IceServerAuth::SharedSecret { secret, seconds } => {
                let username = format!("{}:{user}", unix_seconds.saturating_add(*seconds));
                let credential = STANDARD.encode(hmac_sha1(secret, &username)?);
                (Some(username), Some(credential))
            }
        };
        Ok(IceServerGrant {
            urls: self.urls.clone(),
            username,
            credential,
        })
    }
}

impl IceServerGrant {
    /// The values of `Link` headers, one per address (RFC 9725 §4.6).
    #[must_use]
    pub fn link_values(&self) -> Vec<String> {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        self.urls
            .iter()
            .map(|url| {
                let mut value = format!("<{url}>; rel=\"ice-server\"");
                if let (Some(username), Some(credential)) = (&self.username, &self.credential)
                    && url.starts_with("turn")
                {
                    let (username, credential) = (quoted(username), quoted(credential));
                    value.push_str(&format!(
                        "; username=\"{username}\"; credential=\"{credential}\"; \
                         credential-type=\"password\""
                    ));
                }
                value
            })
            .collect()
    }
}

impl std::fmt::Debug for IceServerGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServerGrant")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn hmac_sha1(key: &str, message: &str) -> Result<[u8; 20], SignalingError> {
    let failed = |e| SignalingError::internal("deriving a TURN credential", e);
    let provider = default_provider().map_err(failed)?;
    let mut mac = [0; 20];
    provider
        .crypto()
        .new_hmac(HmacAlgorithm::Sha1, key.as_bytes())
        .and_then(|mut hmac| hmac.sign(&[message.as_bytes()], &mut mac))
        .map_err(failed)?;
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, auth: IceServerAuth) -> Result<IceServer, SignalingError> {
        IceServer::new(vec![url.to_owned()], auth)
    }

    #[test]
    fn an_hmac_is_that_of_rfc_2202() {
        let mac = hmac_sha1("Jefe", "what do ya want for nothing?").unwrap();
        assert_eq!(mac[..4], [0xef, 0xfc, 0xdf, 0x6a]);
    }

    #[test]
    fn a_shared_secret_gives_names_that_expire() {
        let auth = IceServerAuth::SharedSecret {
            secret: "north".to_owned(),
            seconds: 600,
        };
        let grant = server("turn:t.example:3478?transport=udp", auth)
            .unwrap()
            .grant("a", 1000)
            .unwrap();
        assert_eq!(grant.username.as_deref(), Some("1600:a"));
        let expected = STANDARD.encode(hmac_sha1("north", "1600:a").unwrap());
        assert_eq!(grant.credential, Some(expected.clone()));
        assert_eq!(
            grant.link_values(),
            [format!(
                "<turn:t.example:3478?transport=udp>; rel=\"ice-server\"; username=\"1600:a\"; \
             credential=\"{expected}\"; credential-type=\"password\""
            )]
        );
    }

    #[test]
    fn stun_needs_no_credentials_and_turn_does() {
        let grant = server("stun:s.example", IceServerAuth::Open)
            .unwrap()
            .grant("a", 0)
            .unwrap();
        assert_eq!(
            grant.link_values(),
            ["<stun:s.example>; rel=\"ice-server\""]
        );
        assert!(server("turn:t.example", IceServerAuth::Open).is_err());
    }

    #[test]
    fn addresses_that_could_break_a_header_are_refused() {
        for url in [
            "",
            "turn",
            "turn:",
            "http://x",
            "stun:a>b",
            "stun:a\r\nX: y",
            "turn://host",
        ] {
            assert!(server(url, IceServerAuth::Open).is_err(), "{url:?}");
        }
    }
}
