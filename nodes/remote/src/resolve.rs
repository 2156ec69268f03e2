//! Addresses of names, behind a trait so that a test can change the answer.
//!
//! When to ask, and what becomes of an answer, is the pool's affair ([`crate::pool`]).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use crate::pool::Name;

/// An answer on its way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Knows the addresses of names.
pub trait Resolver: Send + Sync {
    /// The addresses of a name, the preferred ones first, each with the name's port. Cancel safe.
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolving<'a>;
}

/// Asks the system, as every program on the machine does: hosts file, search domains, name servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolving<'a> {
        Box::pin(async {
            let place = (name.host.as_str(), name.port);
            Ok(tokio::net::lookup_host(place).await?.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let name = Name {
            host: "localhost".into(),
            port: 7001,
        };
        let addresses = SystemResolver.resolve(&name).await.expect("a hosts file");
        assert!(!addresses.is_empty());
        assert!(
            addresses
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 7001)
        );
    }
}
