//! What libraries say of connections that could not be made, in words that tell what to do about it.

use std::error::Error;
use std::io::ErrorKind;

use rustls::{CertificateError, Error as Tls};

use crate::error::chain;

/// Why a connection could not be made, or broke before the worker had said anything. `encrypted`: TLS was asked for.
pub(crate) fn before_answer(error: &(dyn Error + 'static), encrypted: bool) -> String {
    let text = said(error);
    let foreign = ["http2 error", "connection closed"];
    let foreign = is_cut(error) || foreign.iter().any(|words| text.contains(words));
    if encrypted || !foreign {
        return text;
    }
    format!(
        "{text}: what answers there speaks no gRPC in clear text; write https:// if it speaks TLS, else look whether 'endpoints' is a worker's address"
    )
}

/// Why a connection could not be made, or broke.
pub(crate) fn said(error: &(dyn Error + 'static)) -> String {
    if let Some(tls) = find::<Tls>(error) {
        return tls_failed(tls);
    }
    let text = chain(error);
    let io = find::<std::io::Error>(error);
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => {
            "nothing listens there (connection refused): look whether the worker runs, and at its port".to_owned()
        }
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            format!("{text}: look at the address, and at the network between")
        }
        // It spoke once, or the connection would not stand.
        _ if text.contains("keep-alive timed out") => {
            "it has stopped answering (keep-alive timed out): look whether the process is stopped or stuck, and at the network between".to_owned()
        }
        _ if text.contains("failed to lookup address") => {
            format!("{text}: look at the host's name in 'endpoints'")
        }
        _ => text,
    }
}

/// Why TLS did not come to stand, with the mend.
pub(crate) fn tls_failed(error: &Tls) -> String {
    let mend = match error {
        Tls::InvalidMessage(_) => {
            return "TLS failed: what answers there speaks none; write http:// if clear text is meant".to_owned();
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => ": the certificate is another host's; write a name in 'endpoints' that it has",
        Tls::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => ": name its authority in 'auth.tls.ca'",
        Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => ": renew the worker's certificate, or set this machine's clock",
        Tls::AlertReceived(_) => ": it may want a certificate, which 'auth.tls' can name",
        _ => "",
    };
    format!("TLS failed: {error}{mend}")
}

/// A connection that was cut before anything came.
fn is_cut(error: &(dyn Error + 'static)) -> bool {
    let kind = find::<std::io::Error>(error).map(std::io::Error::kind);
    matches!(
        kind,
        Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
    )
}

/// The first error of a type among an error and its sources, and what I/O errors wrap.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>();
        let wrapped = wrapped.and_then(|io| io.get_ref());
        if let Some(found) = wrapped.and_then(|inner| find::<E>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn tls_where_clear_text_is_spoken_says_which_scheme_to_write() {
        let inner = Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let error = io::Error::new(ErrorKind::InvalidData, inner);
        let text = said(&error);
        assert!(text.contains("write http://"), "{text}");
        assert!(!text.contains("InvalidContentType"), "{text}");
    }

    #[test]
    fn clear_text_where_something_else_is_spoken_says_what_may_be_meant() {
        let error = io::Error::from(ErrorKind::BrokenPipe);
        let text = before_answer(&error, false);
        assert!(text.contains("write https://"), "{text}");
        assert_eq!(before_answer(&error, true), "broken pipe");
        let stopped = io::Error::other("http2 error: keep-alive timed out: operation timed out");
        let text = before_answer(&stopped, false);
        assert!(
            text.contains("stopped or stuck") && !text.contains("https"),
            "{text}"
        );
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        let text = before_answer(&refused, false);
        assert!(
            text.contains("refused") && !text.contains("https"),
            "{text}"
        );
    }
}
