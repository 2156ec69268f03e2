//! TLS of the listener: the certificate with its key, and whose client certificates are taken and which were taken back; read again when
//! the files change.
//!
//! Connections keep what they began with. Files that do not do together change nothing: the old ones go on to serve, and the log and
//! `tidegate_tls_reloads_total` say so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::{self, ClientCertificates};

/// Largest file: a chain, or the authorities of many clients.
const FILE_BYTES: u64 = 1 << 20;

/// Files that do not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    #[error("tls.{setting} {} cannot be used: {problem}", path.display())]
    File {
        setting: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error("tls.certificate and tls.key do not do together: {0}")]
    Pair(String),
}

/// What connections begin with.
pub(crate) struct Tls {
    files: config::Tls,
    now: ArcSwap<Serving>,
    /// Of what `now` was made.
    digest: Mutex<[u8; 32]>,
}

/// What was made of the files.
struct Serving {
    config: Arc<ServerConfig>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    expires: Option<i64>,
}

/// The files' contents.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
    revoked: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They do not do.
    pub(crate) fn load(files: &config::Tls) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(files)?;
        let serving = contents.serving(files)?;
        Ok(Arc::new(Self {
            files: files.clone(),
            now: ArcSwap::from_pointee(serving),
            digest: Mutex::new(contents.digest()),
        }))
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.now.load().config))
    }

    /// When the first certificate of the chain expires, in seconds since 1970; `None` if none can be read.
    pub(crate) fn expires(&self) -> Option<i64> {
        self.now.load().expires
    }

    /// Reads the files again; says whether they have changed.
    ///
    /// # Errors
    /// They do not do; what there was goes on to serve.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let new = contents.digest();
        if *digest == new {
            return Ok(false);
        }
        self.now.store(Arc::new(contents.serving(&self.files)?));
        *digest = new;
        Ok(true)
    }

    /// Where the files lie, to be watched: who renews them often puts others in their place.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let files = &self.files;
        let clients = [&files.client_ca, &files.client_crl];
        let all = [&files.certificate, &files.key].into_iter().chain(clients);
        let set = all.filter(|path| !path.as_os_str().is_empty());
        let mut folders: Vec<_> = set
            .map(|path| match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
                _ => PathBuf::from("."),
            })
            .collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

impl Contents {
    fn read(files: &config::Tls) -> Result<Self, TlsError> {
        let wanted = |setting, path: &Path| {
            let wanted = !path.as_os_str().is_empty();
            wanted.then(|| read(setting, path)).transpose()
        };
        Ok(Self {
            certificate: read("certificate", &files.certificate)?,
            key: read("key", &files.key)?,
            authorities: wanted("client_ca", &files.client_ca)?,
            revoked: wanted("client_crl", &files.client_crl)?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let authorities = self.authorities.as_deref().unwrap_or_default();
        let revoked = self.revoked.as_deref().unwrap_or_default();
        for part in [&self.certificate[..], &self.key, authorities, revoked] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn serving(&self, files: &config::Tls) -> Result<Serving, TlsError> {
        let chain = certificates(&self.certificate)
            .map_err(|problem| wrong("certificate", &files.certificate, problem))?;
        let expires = chain.iter().filter_map(|der| expiry(der)).min();
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| wrong("key", &files.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Pair(error.to_string()))?;
        let builder = match &self.authorities {
            None => builder.with_no_client_auth(),
            Some(text) => builder.with_client_cert_verifier(self.verifier(files, text, provider)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Pair(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Serving {
            config: Arc::new(config),
            expires,
        })
    }

    /// Whose certificates are taken: those of these authorities that were not taken back.
    fn verifier(
        &self,
        files: &config::Tls,
        authorities: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let refused = |problem| wrong("client_ca", &files.client_ca, problem);
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities).map_err(refused)? {
            roots
                .add(authority)
                .map_err(|error| refused(error.to_string()))?;
        }
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(text) = &self.revoked {
            let lists = revoked(text);
            let lists = lists.map_err(|problem| wrong("client_crl", &files.client_crl, problem))?;
            // The authorities in the file are the operator's own affair: they are taken back by taking them out of it.
            verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
        }
        let verifier = match files.clients {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        verifier.build().map_err(|error| match &error {
            VerifierBuilderError::InvalidCrl(problem) => {
                wrong("client_crl", &files.client_crl, format!("{problem:?}"))
            }
            _ => refused(error.to_string()),
        })
    }
}

fn wrong(setting: &'static str, path: &Path, problem: String) -> TlsError {
    TlsError::File {
        setting,
        path: path.to_owned(),
        problem,
    }
}

fn revoked(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let all = CertificateRevocationListDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("it has no list of certificates that were taken back: write PEM".to_owned());
    }
    Ok(all)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("it has no certificate: write PEM".to_owned());
    }
    Ok(all)
}

fn expiry(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let wrong = |problem: String| TlsError::File {
        setting,
        path: path.to_owned(),
        problem,
    };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = Vec::new();
    let bytes = file.take(FILE_BYTES + 1).read_to_end(&mut text);
    if bytes.map_err(|error| wrong(error.to_string()))? as u64 > FILE_BYTES {
        return Err(wrong(format!("it has more than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
        let files = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&files.0, made.cert.pem()).expect("written");
        std::fs::write(&files.1, made.signing_key.serialize_pem()).expect("written");
        files
    }

    #[test]
    fn a_chain_is_good_until_the_first_of_it_expires() {
        let made = |year| {
            let mut made = rcgen::CertificateParams::new(vec!["one".to_owned()]).expect("a name");
            made.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            (
                made.self_signed(&key).expect("signed").pem(),
                key.serialize_pem(),
            )
        };
        let ((own, key), (above, _)) = (made(2032), made(2031));
        let contents = Contents {
            certificate: format!("{own}{above}").into_bytes(),
            key: key.into_bytes(),
            authorities: None,
            revoked: None,
        };
        let serving = contents.serving(&config::Tls::default()).expect("a pair");
        assert_eq!(serving.expires, Some(1_924_992_000), "2031 begins");
    }

    #[test]
    fn files_that_do_not_do_together_change_nothing() {
        let folder = std::env::temp_dir().join(format!("tidegate-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (certificate, key) = made(&folder, "one");
        let files = config::Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            ..config::Tls::default()
        };
        let tls = Tls::load(&files).expect("a pair");
        let (old, first) = (
            std::fs::read(&key).expect("it is there"),
            tls.now.load_full(),
        );
        let is_first = || Arc::ptr_eq(&tls.now.load_full(), &first);
        assert!(
            !tls.reload().expect("a pair") && is_first(),
            "nothing has changed"
        );
        made(&folder, "two");
        let new = std::fs::read(&key).expect("it is there");
        for wrong in [&old[..], b"", b"no PEM"] {
            std::fs::write(&key, wrong).expect("written");
            assert!(tls.reload().is_err() && is_first());
        }
        std::fs::remove_file(&key).expect("it is there");
        assert!(tls.reload().is_err() && is_first(), "no key");
        std::fs::write(&key, new).expect("written");
        assert!(tls.reload().expect("a pair") && !is_first());
        assert_eq!(tls.folders(), std::slice::from_ref(&folder));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
