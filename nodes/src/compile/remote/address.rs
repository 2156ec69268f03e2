//! Endpoints as manifests write them, and which addresses each transport can use.

use core::net::Ipv4Addr;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Transport;
use crate::manifest::diagnostic::shown;

/// Longest endpoint, in bytes.
const ENDPOINT_BYTES_MAX: usize = 2_048;

/// One endpoint: its address, or its address and weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(with = "EndpointForm")]
pub struct Endpoint {
    /// Its address.
    pub url: String,
    /// Its share, 1 unless given.
    pub weight: Option<u32>,
}

impl From<&str> for Endpoint {
    fn from(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            weight: None,
        }
    }
}

/// The written form.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum EndpointForm {
    /// Its address.
    Url(String),
    /// Its address and weight.
    Weighted(WeightedForm),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WeightedForm {
    /// Its address.
    url: String,
    /// Its share, 1 to 1000, against the sum of all: of requests under `balance: weighted`, of requests in flight under
    /// `least_connections` and `p2c_ewma`. Default 1.
    #[serde(default)]
    weight: Option<u32>,
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(weight) = self.weight else {
            return serializer.serialize_str(&self.url);
        };
        let mut form = serializer.serialize_struct("Endpoint", 2)?;
        form.serialize_field("url", &self.url)?;
        form.serialize_field("weight", &weight)?;
        form.end()
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Endpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as http://host:port, or {url, weight}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Endpoint, E> {
                String::deserialize(text.into_deserializer())
                    .map(|url| Endpoint { url, weight: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                let form = WeightedForm::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Endpoint {
                    url: form.url,
                    weight: form.weight,
                })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The schemes that a transport takes, the clear one first.
pub(super) const fn schemes(transport: Transport) -> &'static [&'static str] {
    match transport {
        Transport::Websocket => &["ws", "wss", "http", "https"],
        _ => &["http", "https"],
    }
}

/// What is wrong with an endpoint's address, and the mend.
pub(super) fn check(endpoint: &str, transport: Transport) -> Result<(), (String, String)> {
    let form = match transport {
        Transport::Websocket => "write ws://host:port or wss://host:port",
        _ => "write http://host:port or https://host:port",
    };
    let known = schemes(transport);
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        let message = format!("endpoint '{}' has no scheme", shown(endpoint));
        return Err((message, form.to_owned()));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err((
            "an endpoint holds credentials".to_owned(),
            "move them to 'auth', which is kept secret".to_owned(),
        ));
    }
    if !known.contains(&scheme) {
        let message = format!(
            "endpoint '{}' has scheme '{}', which transport '{}' does not take",
            shown(endpoint),
            shown(scheme),
            transport.as_str()
        );
        let mend = match scheme {
            "ws" | "wss" => format!("{form}, or choose 'transport: websocket'"),
            "grpc" | "grpcs" => format!("{form} and 'transport: grpc'"),
            _ => form.to_owned(),
        };
        return Err((message, mend));
    }
    let bad = authority.is_empty()
        || authority.starts_with(':')
        || endpoint.len() > ENDPOINT_BYTES_MAX
        || endpoint
            .chars()
            .any(|c| c.is_whitespace() || c.is_control());
    if bad {
        let message = format!("endpoint '{}' names no host", shown(endpoint));
        return Err((message, form.to_owned()));
    }
    check_port(authority)
        .map_err(|port| {
            let message = format!("endpoint '{}' has port '{}'", shown(endpoint), shown(port));
            (message, "write a port from 1 to 65535".to_owned())
        })
        .and_then(|()| check_path(endpoint, rest, transport))
}

/// gRPC has paths of its own, and no transport sends a query: what stands there is often a key, which would be shown wherever the
/// endpoint is.
fn check_path(endpoint: &str, rest: &str, transport: Transport) -> Result<(), (String, String)> {
    if let Some(at) = endpoint.find(['?', '#']) {
        return Err((
            format!(
                "endpoint '{}' has a query or a fragment, which is not sent",
                shown(&endpoint[..at])
            ),
            "leave it out; a key goes to 'auth', as 'bearer' or 'header'".to_owned(),
        ));
    }
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    if transport == Transport::Grpc && !matches!(path, "" | "/") {
        return Err((
            format!(
                "endpoint '{}' has a path, which gRPC has no use for",
                shown(endpoint)
            ),
            "write http://host:port, and name the pipeline in 'pipeline'".to_owned(),
        ));
    }
    Ok(())
}

/// The port of an authority, if it has one, is a number.
fn check_port(authority: &str) -> Result<(), &str> {
    let after_host = match authority.rfind(']') {
        Some(end) => &authority[end + 1..],
        None => authority,
    };
    let Some((_, port)) = after_host.rsplit_once(':') else {
        return Ok(());
    };
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(port),
    }
}

/// Whether an endpoint's address names more than a host: what runs there.
pub(super) fn has_path(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    rest.split_once('/')
        .is_some_and(|(_, path)| !path.is_empty())
}

/// Whether an endpoint's host is a name, which stands for addresses that may change.
pub(super) fn is_named(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    // An IPv6 address stands in brackets, with or without a port.
    !authority.starts_with('[') && host.parse::<Ipv4Addr>().is_err()
}

/// Whether an endpoint's address asks for TLS.
pub(super) fn is_encrypted(endpoint: &str) -> bool {
    endpoint.starts_with("https://") || endpoint.starts_with("wss://")
}
