//! Credentials of a hop. What is secret is never shown; what is a file is read by whoever runs the hop, again when it changes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::is_encrypted;
use super::checks::Problems;

/// Headers that the transports set themselves.
const RESERVED: [&str; 8] = [
    "host",
    "te",
    "connection",
    "upgrade",
    "transfer-encoding",
    "content-length",
    "content-type",
    "accept",
];

/// How to prove who asks. Each may be left out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Sent as `Authorization: Bearer …`. `${env:NAME}` takes it from the gateway's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// A file with the bearer token, read again when it changes. A token that says when it expires (a JWT's `exp`) is replaced
    /// before that in streams that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_file: Option<String>,
    /// One header with a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<AuthHeader>,
    /// Certificates; endpoints must be `https://` (or `wss://`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<AuthTls>,
}

/// A header with a key, such as `x-api-key`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthHeader {
    /// The header's name.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A file with its value, read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Certificates of a hop: files, each PEM, read again when they change. A value that begins with `-----BEGIN` is the PEM itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthTls {
    /// Authorities that are trusted instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The certificate that this gateway shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl AuthTls {
    /// Whether a value is PEM itself and not a file's name.
    #[must_use]
    pub fn is_inline(value: &str) -> bool {
        value.trim_start().starts_with("-----BEGIN")
    }
}

impl Auth {
    /// Fields that name files.
    pub(super) fn files(&self) -> Vec<&'static str> {
        let tls = self.tls.as_ref();
        let pem = |value: Option<&String>| value.is_some_and(|text| !AuthTls::is_inline(text));
        let header = self.header.as_ref();
        let all = [
            ("bearer_file", self.bearer_file.is_some()),
            ("header.file", header.is_some_and(|h| h.file.is_some())),
            ("tls.ca", pem(tls.and_then(|tls| tls.ca.as_ref()))),
            ("tls.cert", pem(tls.and_then(|tls| tls.cert.as_ref()))),
            ("tls.key", pem(tls.and_then(|tls| tls.key.as_ref()))),
        ];
        all.into_iter()
            .filter_map(|(name, file)| file.then_some(name))
            .collect()
    }

    /// Checks the credentials of a pool; `path` is that of `auth` itself.
    pub(super) fn check<'a>(
        &self,
        path: &str,
        endpoints: impl Iterator<Item = &'a str>,
        problems: &mut Problems,
    ) {
        let at = |field: &str| format!("{path}.{field}");
        if self.bearer.as_deref().is_some_and(|b| b.trim().is_empty()) {
            let mend = "give one, such as ${env:STT_TOKEN}, or leave 'auth' out";
            problems.add(at("bearer"), "the token is empty", mend);
        }
        if self.bearer.is_some() && self.bearer_file.is_some() {
            let what = "'bearer' and 'bearer_file' exclude each other";
            problems.add(path, what, "keep one");
        }
        if *self == Self::default() {
            let what = "no credential is given";
            problems.add(path, what, "add 'bearer', 'bearer_file', 'header' or 'tls'");
        }
        if let Some(header) = &self.header {
            let bearer = self.bearer.is_some() || self.bearer_file.is_some();
            header.check(&at("header"), bearer, problems);
        }
        if let Some(tls) = &self.tls {
            tls.check(&at("tls"), endpoints, problems);
        }
    }
}

impl AuthHeader {
    fn check(&self, path: &str, bearer: bool, problems: &mut Problems) {
        let name = self.name.to_ascii_lowercase();
        let shown = crate::manifest::diagnostic::shown(&self.name);
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let at = format!("{path}.name");
        if name.is_empty() || !name.chars().all(token) {
            let what = format!("'{shown}' is no name of a header");
            problems.add(at, what, "write one such as x-api-key");
        } else if RESERVED.contains(&name.as_str()) || name.starts_with("grpc-") {
            let what = format!("header '{shown}' is set by the transport itself");
            problems.add(at, what, "write another, such as x-api-key");
        } else if name == "authorization" && bearer {
            let what = "'bearer' and header 'authorization' are the same header";
            problems.add(at, what, "keep one");
        }
        match (&self.value, &self.file) {
            (Some(_), Some(_)) => {
                let what = "'value' and 'file' exclude each other";
                problems.add(path, what, "keep one");
            }
            (None, None) => {
                let what = format!("header '{shown}' has no value");
                problems.add(path, what, "add 'value' or 'file'");
            }
            (Some(value), None) if value.chars().any(char::is_control) => {
                let what = format!("the value of header '{shown}' has control characters");
                problems.add(format!("{path}.value"), what, "remove the line break");
            }
            _ => {}
        }
    }
}

impl AuthTls {
    fn check<'a>(
        &self,
        path: &str,
        mut endpoints: impl Iterator<Item = &'a str>,
        problems: &mut Problems,
    ) {
        if self.cert.is_some() != self.key.is_some() {
            let (has, lacks) = match self.cert {
                Some(_) => ("cert", "key"),
                None => ("key", "cert"),
            };
            let what = format!("'{has}' is given without '{lacks}'");
            problems.add(path, what, format!("add '{lacks}', or remove '{has}'"));
        }
        if *self == Self::default() {
            problems.add(
                path,
                "no certificate is given",
                "add 'ca', or 'cert' and 'key'",
            );
        }
        if let Some(clear) = endpoints.find(|endpoint| !is_encrypted(endpoint)) {
            let shown = crate::manifest::diagnostic::shown(clear);
            let what =
                format!("endpoint '{shown}' is not encrypted, so 'tls' would have no effect");
            problems.add(path, what, "write https:// (or wss://), or remove 'tls'");
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("bearer", &self.bearer.as_ref().map(|_| "<hidden>"))
            .field("bearer_file", &self.bearer_file)
            .field("header", &self.header)
            .field("tls", &self.tls)
            .finish()
    }
}

impl fmt::Debug for AuthHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthHeader")
            .field("name", &self.name)
            .field("value", &self.value.as_ref().map(|_| "<hidden>"))
            .field("file", &self.file)
            .finish()
    }
}

impl fmt::Debug for AuthTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthTls")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .field("key", &self.key.as_ref().map(|_| "<hidden>"))
            .finish()
    }
}
