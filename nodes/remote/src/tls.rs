//! What rustls is told of a hop: whom to trust, what to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::auth::TlsIdentity;
use crate::error::RemoteError;

/// Identities whose settings are kept: one for each hop that names certificates, and some that were renewed.
const IDENTITIES_MAX: usize = 256;

/// Settings by identity: reading the system's authorities takes milliseconds, and sessions are resumed only within one.
#[derive(Debug, Default)]
pub(crate) struct TlsClients(Mutex<HashMap<Arc<TlsIdentity>, Arc<ClientConfig>>>);

impl TlsClients {
    /// The settings of an identity; `ca` is what is trusted if it does not say.
    pub(crate) fn get(
        &self,
        identity: &Arc<TlsIdentity>,
        ca: Option<&[u8]>,
    ) -> Result<Arc<ClientConfig>, RemoteError> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(identity) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(client(identity, ca)?);
        let mut known = lock();
        if known.len() >= IDENTITIES_MAX {
            known.clear();
        }
        known.insert(Arc::clone(identity), Arc::clone(&config));
        Ok(config)
    }
}

fn client(identity: &TlsIdentity, ca: Option<&[u8]>) -> Result<ClientConfig, RemoteError> {
    let ours = identity.ca.as_deref().map(str::as_bytes);
    let roots = match ours.or(ca) {
        Some(pem) => given_roots(pem)?,
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("auth.tls", &error))?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&identity.cert, &identity.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert.as_bytes(), "auth.tls.cert")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| unusable("auth.tls.key", &error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("auth.tls.cert", &error))
}

fn given_roots(pem: &[u8]) -> Result<RootCertStore, RemoteError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "auth.tls.ca")? {
        roots
            .add(certificate)
            .map_err(|error| unusable("auth.tls.ca", &error))?;
    }
    Ok(roots)
}

/// What cannot be read of the system's store is left out, as every client does; an empty one is told.
fn system_roots() -> Result<RootCertStore, RemoteError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let text = "this machine has no certificates of authorities: install them, or name the worker's in 'auth.tls.ca'";
        return Err(RemoteError::Config(text.into()));
    }
    Ok(roots)
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| unusable(key, &error))?;
    if read.is_empty() {
        return Err(unusable(key, &"there is no certificate in it"));
    }
    Ok(read)
}

fn unusable(key: &str, error: &dyn std::fmt::Display) -> RemoteError {
    RemoteError::Config(format!("'{key}' cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(identity: TlsIdentity) -> String {
        let error = TlsClients::default().get(&Arc::new(identity), None);
        error.expect_err("refused").to_string()
    }

    #[test]
    fn what_is_no_pem_names_the_key_that_is_wrong() {
        let text: Option<Arc<str>> = Some("not PEM".into());
        let ca = TlsIdentity {
            ca: text.clone(),
            ..TlsIdentity::default()
        };
        assert_eq!(
            refusal(ca),
            "'auth.tls.ca' cannot be used: there is no certificate in it"
        );
        let authority = rcgen::generate_simple_self_signed(vec!["a".into()]).expect("a pair");
        let pair = TlsIdentity {
            ca: Some(authority.cert.pem().into()),
            cert: Some(authority.cert.pem().into()),
            key: text,
        };
        assert!(refusal(pair).starts_with("'auth.tls.key' cannot be used"));
    }

    #[test]
    fn an_identity_is_read_once() {
        let authority = rcgen::generate_simple_self_signed(vec!["a".into()]).expect("a pair");
        let clients = TlsClients::default();
        let get = || {
            let identity = TlsIdentity {
                ca: Some(authority.cert.pem().into()),
                ..TlsIdentity::default()
            };
            clients.get(&Arc::new(identity), None).expect("usable")
        };
        assert!(Arc::ptr_eq(&get(), &get()));
    }
}
