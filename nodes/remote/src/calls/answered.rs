//! Where a call was answered, and what its end means.

use tidegate_proto::{PortName, ServerMessage};

use super::gather::Gather;
use crate::error::RemoteError;

/// Where a call was answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// On an output that the hop declares.
    pub(super) declared: bool,
    /// The first output on which it was answered and that the hop does not declare.
    pub(super) elsewhere: Option<PortName>,
}

impl Gather {
    /// What the end of the call under way means: all that went into it is consumed.
    ///
    /// # Errors
    /// It had answers, and none of them on an output that the hop declares. A worker that has more outputs than the hop declares is
    /// no mistake, but nobody can have wanted this.
    pub(super) fn done(&mut self) -> Result<Vec<ServerMessage>, RemoteError> {
        let answered = std::mem::take(&mut self.answered);
        if let (false, Some(on)) = (answered.declared, answered.elsewhere) {
            return Err(self.unheard(&on));
        }
        Ok(self.acknowledge(|input| {
            let call = input.call.take();
            call.map_or(0, |call| call.before + call.count)
        }))
    }

    fn unheard(&self, on: &PortName) -> RemoteError {
        let joined = self.outputs.iter().map(|output| output.name.as_str());
        let declared = joined.chain(self.unjoined.iter().map(String::as_str));
        let declared: Vec<_> = declared.map(|name| format!("'{name}'")).collect();
        RemoteError::Unheard(format!(
            "worker answered on output '{on}' only, which the node does not declare: declare '{on}' in its 'outputs', or let the worker answer on {}",
            declared.join(" or ")
        ))
    }
}
