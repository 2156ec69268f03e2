//! Client certificates: what a name in one grants. That a certificate is an authority's has been found when TLS was set up
//! ([`crate::tls`]); here is whose it is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::Caller;
use super::grants::{Grants, is_pattern};
use crate::config::{Auth, CertificateConfig};

/// What the name of whoever shows a certificate begins with; no name of `auth.tokens` has a colon.
const NAMED: &str = "certificate:";

/// The names in a certificate that a client has shown, and that an authority vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    common_name: Option<String>,
    /// Host names in small letters, addresses, and URIs and mail addresses as they are.
    alternatives: Vec<String>,
}

impl Certificate {
    /// Reads DER. What cannot be read has no names.
    pub(crate) fn read(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self::default();
        };
        let common_name = certificate.subject().iter_common_name().next();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| &names.value.general_names);
        Self {
            common_name: common_name.and_then(|name| name.as_str().ok().map(str::to_owned)),
            alternatives: names
                .into_iter()
                .flatten()
                .filter_map(alternative)
                .collect(),
        }
    }

    /// How it is called to its holder.
    pub(super) fn shown(&self) -> String {
        let name = self.alternatives.first().or(self.common_name.as_ref());
        let name = name.map_or("without a name", String::as_str);
        name.chars().take(64).collect()
    }
}

fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok()
}

/// Whose certificates are whose.
pub(super) struct Certificates(Vec<(CertificateConfig, Caller)>);

impl Certificates {
    pub(super) fn new(config: &Auth) -> Self {
        let one = |config: &CertificateConfig| {
            let grants = Grants::new(
                config.pipelines.clone(),
                config.inline,
                config.sessions,
                config.metrics,
            );
            let caller = Caller::new(&format!("{NAMED}{}", config.name), grants);
            (config.clone(), caller.with_limits(config.limits.clone()))
        };
        Self(config.certificates.iter().map(one).collect())
    }

    /// Whose it is. The first entry that has one of its names.
    pub(super) fn find(&self, shown: &Certificate) -> Option<Caller> {
        let is = |config: &CertificateConfig| {
            if config.common_name.is_empty() {
                let wanted = &config.san;
                let host = wanted.to_ascii_lowercase();
                let same = |name: &String| name == wanted || *name == host;
                return shown.alternatives.iter().any(same);
            }
            shown.common_name.as_ref() == Some(&config.common_name)
        };
        let mut all = self.0.iter();
        let (_, caller) = all.find(|(config, _)| is(config))?;
        Some(caller.clone())
    }

    /// Who has this name.
    pub(super) fn named(&self, name: &str) -> Option<Caller> {
        let mut callers = self.0.iter().map(|(_, caller)| caller);
        callers.find(|caller| &*caller.name == name).cloned()
    }
}

/// All that is wrong with the certificates as they are configured.
pub(super) fn wrong(config: &Auth) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for (index, one) in config.certificates.iter().enumerate() {
        let mut say = |why: String| wrong.push(format!("auth.certificates[{index}] {why}"));
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if one.name.is_empty() || !one.name.chars().all(fine) {
            say("has no name that does: set name to letters, digits, '-' or '_'".to_owned());
        }
        if !names.insert(&one.name) {
            say(format!(
                "has the name of another, '{}': give each its own",
                one.name
            ));
        }
        if one.san.is_empty() == one.common_name.is_empty() {
            say("must have either san or common_name: the name in the certificate".to_owned());
        }
        for pattern in one.pipelines.iter().filter(|pattern| !is_pattern(pattern)) {
            say(format!(
                "grants pipeline '{pattern}', which names none: write a name, or a beginning with '*' behind it"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, alternatives: &[&str]) -> Certificate {
        let alternatives: Vec<_> = alternatives.iter().map(|&name| name.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(alternatives).expect("names");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let uri = "spiffe://example/front".try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let key = rcgen::KeyPair::generate().expect("a key");
        Certificate::read(params.self_signed(&key).expect("signed").der())
    }

    fn of(name: &str, san: &str, common_name: &str) -> CertificateConfig {
        CertificateConfig {
            name: name.to_owned(),
            san: san.to_owned(),
            common_name: common_name.to_owned(),
            ..CertificateConfig::default()
        }
    }

    #[test]
    fn a_certificate_is_known_by_a_name_in_it() {
        let config = Auth {
            certificates: vec![
                of("host", "Front.example", ""),
                of("address", "10.0.0.7", ""),
                of("workload", "spiffe://example/front", ""),
                of("person", "", "Ada"),
            ],
            ..Auth::default()
        };
        assert_eq!(wrong(&config), [""; 0]);
        let known = Certificates::new(&config);
        let whose = |shown: &Certificate| known.find(shown).map(|caller| caller.name.to_string());
        let is = |name: &str| Some(format!("certificate:{name}"));
        assert_eq!(whose(&shown("x", &["front.example"])), is("host"));
        assert_eq!(whose(&shown("x", &["10.0.0.7"])), is("address"));
        assert_eq!(whose(&shown("Ada", &["other.example"])), is("workload"));
        let ada = Certificate {
            common_name: Some("Ada".to_owned()),
            alternatives: Vec::new(),
        };
        assert_eq!(whose(&ada), is("person"));
        // A common name is no host name, and what is no certificate has no name.
        let other = Certificate {
            common_name: Some("front.example".to_owned()),
            alternatives: Vec::new(),
        };
        assert_eq!(whose(&other), None);
        assert_eq!(whose(&Certificate::read(b"none")), None);
    }

    #[test]
    fn entries_that_can_be_nobodys_are_refused() {
        for (entries, count) in [
            (vec![of("a", "", "")], 1),
            (vec![of("a", "x", "y")], 1),
            (vec![of("", "x", "")], 1),
            (vec![of("a", "x", ""), of("a", "y", "")], 1),
        ] {
            let config = Auth {
                certificates: entries,
                ..Auth::default()
            };
            assert_eq!(wrong(&config).len(), count, "{config:?}");
        }
    }
}
