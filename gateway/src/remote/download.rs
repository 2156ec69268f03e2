//! GETs, with the redirects that they are answered with.
//!
//! No cookies, no proxies, no credentials, no compression.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;

pub(crate) use super::exchange::Allowed;
use super::exchange::{self, Exchange};

/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// What a GET gave.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<HeaderValue>,
    /// For how long it may be taken as it is, if the server says so.
    pub(crate) max_age: Option<Duration>,
    pub(crate) body: Bytes,
    location: Option<HeaderValue>,
}

impl Download {
    /// Where it redirects to. A redirect from `https` to `http` is an error: it would give up what was asked for.
    fn redirect(&self, from: &Uri) -> Result<Option<Uri>, String> {
        let Some(location) = self
            .location
            .as_ref()
            .filter(|_| self.status.is_redirection())
        else {
            return Ok(None);
        };
        let bad = "redirects to what is no address: look at the server";
        let to: Uri = location
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(bad)?;
        if to.scheme().is_some() {
            if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
                return Err("redirects from https to http: mend the server's redirect".to_owned());
            }
            return Ok(Some(to));
        }
        let mut parts = from.clone().into_parts();
        if let Some(authority) = to.authority() {
            parts.authority = Some(authority.clone());
        }
        let path = to
            .path_and_query()
            .filter(|path| path.as_str().starts_with('/'));
        parts.path_and_query = Some(path.ok_or(bad)?.clone());
        Uri::from_parts(parts).map(Some).map_err(|_| bad.to_owned())
    }
}

/// Makes GETs.
#[derive(Clone)]
pub(crate) struct Client(Exchange);

impl Client {
    pub(crate) fn new(allowed: Allowed) -> Self {
        Self(Exchange::new(allowed, "fetched"))
    }

    /// Trusts the authorities of this file and no others.
    ///
    /// # Errors
    /// What is wrong with it, after its name.
    pub(crate) fn trusting(self, file: &std::path::Path) -> Result<Self, String> {
        Ok(Self(self.0.trusting(file)?))
    }

    /// Gets what is there, or where it redirects to, at most `limit` bytes of it. `None`: it is still what the tag says. Cancel safe.
    pub(crate) async fn follow(
        &self,
        url: &str,
        etag: Option<HeaderValue>,
        limit: usize,
    ) -> Result<Option<Download>, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| format!("is no address: {error}"))?;
        for _ in 0..=REDIRECTS {
            let answer = self.get(&uri, etag.clone(), limit).await?;
            if answer.status == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            if answer.status.is_success() {
                return Ok(Some(answer));
            }
            let Some(next) = answer.redirect(&uri)? else {
                let status = answer.status;
                return Err(format!("was answered with {status}: look at the server"));
            };
            uri = next;
        }
        Err(format!(
            "leads through more than {REDIRECTS} redirects: write the address where they end"
        ))
    }

    /// Gets what is there, at most `limit` bytes of it; a tag asks whether it has changed. Cancel safe.
    async fn get(
        &self,
        uri: &Uri,
        etag: Option<HeaderValue>,
        limit: usize,
    ) -> Result<Download, String> {
        let mut request = Request::get(exchange::path(uri))
            .header(
                header::ACCEPT,
                "application/yaml, application/json, text/plain, */*;q=0.5",
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        if let Some(etag) = etag {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag);
        }
        Ok(read(self.0.send(uri, request, limit).await?))
    }
}

fn read(response: Response<Bytes>) -> Download {
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).cloned();
    Download {
        status: head.status,
        etag: header(header::ETAG),
        max_age: header(header::CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?)),
        location: header(header::LOCATION),
        body,
    }
}

/// What `Cache-Control` allows (RFC 9111 §5.2.2).
fn max_age(text: &str) -> Option<Duration> {
    let mut found = None;
    for part in text.split(',') {
        let part = part.trim().to_ascii_lowercase();
        if part == "no-cache" || part == "no-store" {
            return Some(Duration::ZERO);
        }
        let seconds = part
            .strip_prefix("max-age=")
            .map(|age| age.trim_matches('"'));
        found = seconds.and_then(|age| age.parse().ok()).or(found);
    }
    found.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_a_manifest_may_be_kept() {
        let seconds = |text| max_age(text).map(|age| age.as_secs());
        assert_eq!(seconds("max-age=5"), Some(5));
        assert_eq!(seconds("public, Max-Age=\"70\""), Some(70));
        assert_eq!(seconds("max-age=5, no-cache"), Some(0));
        assert_eq!(seconds("private"), None);
        assert_eq!(seconds("max-age=soon"), None);
    }

    fn redirect(from: &str, location: &str) -> Result<Option<String>, String> {
        let download = Download {
            status: StatusCode::FOUND,
            etag: None,
            max_age: None,
            body: Bytes::new(),
            location: Some(location.parse().expect("a value")),
        };
        let from = from.parse().expect("an address");
        Ok(download.redirect(&from)?.map(|uri| uri.to_string()))
    }

    #[test]
    fn redirects_are_followed_as_written_but_never_out_of_tls() {
        let to = |from, location| redirect(from, location).map(Option::unwrap_or_default);
        assert_eq!(
            to("https://a/x", "/y?z=1"),
            Ok("https://a/y?z=1".to_owned())
        );
        assert_eq!(
            to("http://a/x", "https://b/y"),
            Ok("https://b/y".to_owned())
        );
        assert!(to("https://a/x", "http://a/y").is_err());
        assert!(to("https://a/x", "y z").is_err());
    }
}
