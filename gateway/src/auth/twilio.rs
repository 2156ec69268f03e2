//! Requests that Twilio has signed: `X-Twilio-Signature`, an HMAC-SHA1 by an account's auth token over the address that was called.
//!
//! <https://www.twilio.com/docs/usage/security#validating-requests>. An upgrade to a WebSocket has no body, so that the address is all
//! that is signed. It is the one that the TwiML names, which a gateway behind a proxy may not see as it was: `public_url` says it then.
//! Absent: the endpoint that takes calls (`http/twilio.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use tidegate_nodes::{Code, Error};

use super::Caller;
use super::grants::is_pattern;
use crate::config;

/// The name that who has signed has as a caller.
const NAME: &str = "twilio";
/// Addresses that are named to whoever is refused: what comes with a request may be long.
const SHOWN: usize = 200;

/// Who signs, and what they may do.
pub(crate) struct Signatures {
    keys: Vec<hmac::Key>,
    public_url: String,
    caller: Caller,
}

/// What is wrong with a request that should be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It has no signature.
    Missing,
    /// It has one that no token makes.
    Wrong,
}

impl Unsigned {
    /// As it is counted.
    pub(crate) const ALL: [Self; 2] = [Self::Missing, Self::Wrong];

    /// Its word on `/metrics`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
        }
    }
}

impl Signatures {
    /// As configured; `None` where no signature is asked for. What [`wrong`] finds has been refused before.
    pub(super) fn new(config: &config::Twilio) -> Option<Self> {
        let key =
            |token: &String| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
        (!config.auth_tokens.is_empty()).then(|| Self {
            keys: config.auth_tokens.iter().map(key).collect(),
            public_url: config.public_url.trim_end_matches('/').to_owned(),
            caller: Caller::of_listener(NAME, &config.pipelines),
        })
    }

    /// Who has signed a request for this path at this host, query included.
    ///
    /// # Errors
    /// Nobody has, with what is wrong about it: `permission_denied`.
    pub(crate) fn identify(
        &self,
        signature: Option<&str>,
        (host, path): (&str, &str),
    ) -> Result<Caller, (Unsigned, Error)> {
        let refused = |what, text| Err((what, Error::new(Code::PermissionDenied, text)));
        let Some(signature) = signature else {
            let text = "no X-Twilio-Signature: calls to this gateway come from Twilio, or with a bearer token";
            return refused(Unsigned::Missing, text.to_owned());
        };
        let url = if self.public_url.is_empty() {
            format!("wss://{host}{path}")
        } else {
            format!("{}{path}", self.public_url)
        };
        let signed = STANDARD.decode(signature.trim()).unwrap_or_default();
        let mut good = false;
        // All of them, so that how long it takes says nothing of whose token it is; the comparison itself takes the same time too.
        for url in spellings(&url) {
            for key in &self.keys {
                good |= hmac::verify(key, url.as_bytes(), &signed).is_ok();
            }
        }
        if good {
            return Ok(self.caller.clone());
        }
        let shown: String = url.chars().take(SHOWN).collect();
        let text = format!(
            "X-Twilio-Signature is not that of '{shown}' by any of auth.twilio.auth_tokens: if the TwiML names another address, set auth.twilio.public_url"
        );
        refused(Unsigned::Wrong, text)
    }
}

/// One address as Twilio may have written it: with the usual port or without any, as its own libraries check it, and by either name of
/// the scheme.
fn spellings(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else {
        return Vec::new();
    };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = place
        .rsplit_once(':')
        .filter(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = port.map_or(place, |(name, _)| name);
    let mut places = vec![name.to_owned(), format!("{name}:443")];
    if !places.iter().any(|known| known == place) {
        places.push(place.to_owned());
    }
    let both = |place: &String| ["wss", "https"].map(|scheme| format!("{scheme}://{place}{path}"));
    places.iter().flat_map(both).collect()
}

/// All that is wrong with the settings, in words for the operator and without a token in them.
pub(super) fn wrong(config: &config::Twilio) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, token) in config.auth_tokens.iter().enumerate() {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            wrong.push(format!(
                "auth.twilio.auth_tokens[{index}] is no auth token of Twilio: letters and digits, as the console shows it"
            ));
        }
    }
    let url = config.public_url.as_str();
    let place = url.strip_prefix("wss://").filter(|rest| {
        let name = rest.split('/').next().unwrap_or_default();
        !name.is_empty() && !rest.contains(['?', '#', ' '])
    });
    if !url.is_empty() && place.is_none() {
        wrong.push(format!(
            "auth.twilio.public_url is '{url}': write it as in the TwiML, up to where /v1/ begins, as in wss://voice.example.com"
        ));
    }
    let patterns = config.pipelines.iter().filter(|text| !is_pattern(text));
    wrong.extend(patterns.map(|pattern| {
        format!("auth.twilio.pipelines has '{pattern}', which names none: write a name, or a beginning with '*' behind it")
    }));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v1/pipelines/voice-agent/twilio";

    fn signatures(public_url: &str) -> Signatures {
        let config = config::Twilio {
            auth_tokens: vec!["0ld".to_owned(), "12345".to_owned()],
            public_url: public_url.to_owned(),
            ..config::Twilio::default()
        };
        Signatures::new(&config).expect("there are tokens")
    }

    fn sign(token: &str, url: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
        STANDARD.encode(hmac::sign(&key, url.as_bytes()))
    }

    #[test]
    fn the_signature_is_what_twilios_own_documentation_makes_of_its_example() {
        // Of a POST, whose parameters stand behind the address.
        let example = "https://mycompany.com/myapp.php?foo=1&bar=2CallSidCA1234567890ABCDECaller+14158675310Digits1234From+14158675310To+18005551212";
        assert_eq!(sign("12345", example), "GvWf1cFY/Q7PnoempGyD5oXAezc=");
    }

    #[test]
    fn who_signs_the_address_with_any_of_the_tokens_is_twilio() {
        let all = signatures("");
        let given = |signature: &str, host| all.identify(Some(signature), (host, PATH));
        for (url, host) in [
            ("wss://voice.example.com", "voice.example.com"),
            ("wss://voice.example.com:443", "voice.example.com"),
            ("https://voice.example.com", "voice.example.com:443"),
            ("wss://voice.example.com", "voice.example.com:8443"),
            ("wss://voice.example.com:8443", "voice.example.com:8443"),
        ] {
            for token in ["0ld", "12345"] {
                let signature = sign(token, &format!("{url}{PATH}"));
                let caller = given(&signature, host).expect("it is right");
                assert_eq!(&*caller.name, "twilio");
            }
        }
        let right = sign("12345", &format!("wss://voice.example.com{PATH}"));
        for (signature, host) in [
            (right.as_str(), "other.example.com"),
            (&right[1..], "voice.example.com"),
            ("", "voice.example.com"),
        ] {
            let (what, error) = given(signature, host).expect_err("it is wrong");
            assert_eq!(
                (what, error.code),
                (Unsigned::Wrong, Code::PermissionDenied)
            );
            assert!(error.message.contains(host), "{error}");
        }
        let wrong_token = sign("54321", &format!("wss://voice.example.com{PATH}"));
        given(&wrong_token, "voice.example.com").expect_err("of another account");
        let (what, _) = all.identify(None, ("a", PATH)).expect_err("none");
        assert_eq!(what, Unsigned::Missing);
    }

    #[test]
    fn behind_a_proxy_the_address_is_what_the_setting_says() {
        let behind = signatures("wss://voice.example.com/gate/");
        let right = sign("12345", &format!("wss://voice.example.com/gate{PATH}"));
        let seen = ("10.0.0.7:8080", PATH);
        assert!(behind.identify(Some(&right), seen).is_ok());
        let inner = sign("12345", &format!("wss://10.0.0.7:8080{PATH}"));
        assert!(behind.identify(Some(&inner), seen).is_err());
    }

    #[test]
    fn settings_that_could_never_be_right_are_refused_without_a_token_in_the_words() {
        let config = |token: &str, url: &str, pipeline: &str| config::Twilio {
            auth_tokens: vec![token.to_owned()],
            public_url: url.to_owned(),
            pipelines: vec![pipeline.to_owned()],
        };
        assert_eq!(wrong(&config("12345", "", "voice-*")), [""; 0]);
        assert_eq!(wrong(&config("12345", "wss://a.example/b", "*")), [""; 0]);
        for (token, url, pipeline) in [
            ("s3 cret", "", "*"),
            ("", "", "*"),
            ("1", "https://voice.example.com", "*"),
            ("1", "voice.example.com", "*"),
            ("1", "wss://voice.example.com?a=b", "*"),
            ("1", "", "Nothing!"),
        ] {
            let all = wrong(&config(token, url, pipeline));
            assert_eq!(all.len(), 1, "{all:?}");
            assert!(!all[0].contains("s3 cret"), "{all:?}");
        }
    }
}
