//! Remote hops of a session.

use std::collections::BTreeMap;

use tidegate_nodes::{Error, Plan, Ports};

use crate::gateway::Gateway;
use crate::session::hops::Hop;
use crate::session::open::Prepared;

#[derive(Default)]
pub(crate) struct Connector;

impl Gateway {
    pub(crate) async fn remote_ports(
        &self,
        _plan: &Plan,
    ) -> Result<BTreeMap<String, Ports>, Error> {
        Ok(BTreeMap::new())
    }
    pub(crate) async fn open_remotes(
        &self,
        _plan: &Plan,
        _prepared: &Prepared,
        _hops: &mut Vec<(usize, Box<dyn Hop>)>,
    ) -> Result<(), Error> {
        Ok(())
    }
}
