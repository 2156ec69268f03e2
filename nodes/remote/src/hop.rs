//! A remote hop as a session's driver holds it.

use std::task::{Context, Poll};

use tidegate_media::Timestamp;
use tidegate_nodes::{Error, HopCommand, HopEvent};

use crate::config::{HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::exchange::Exchange;
use crate::link::Link;
use crate::transport;

/// An open hop. Dropping it closes its stream, which ends the session at the worker.
///
/// It has no task of its own: whoever holds it polls it, from one task.
pub struct RemoteHop {
    hop: String,
    endpoint: String,
    exchange: Exchange,
    link: Box<dyn Link>,
    /// The transport's end was seen, or nothing is to be expected of it any more.
    deaf: bool,
}

impl RemoteHop {
    /// Opens the hop's pipeline at the first of the configured endpoints where that succeeds. Waits at most
    /// `config.timeouts.connect` for each. Cancel safe: dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// The configuration cannot be used, no endpoint opened the pipeline, it does not fit `ports`
    /// ([`Code::Incompatible`](tidegate_nodes::Code::Incompatible), naming both sides), or the session passed too many gateways.
    pub async fn open(
        connector: &Connector,
        config: &RemoteConfig,
        ports: &HopPorts,
        context: OpenContext,
    ) -> Result<Self, Error> {
        let mut last = None;
        for endpoint in &config.endpoints {
            let opened = transport::open(connector, endpoint, config, ports, context).await;
            let begun = opened.and_then(|(link, opened)| {
                let exchange = Exchange::begin(ports, &opened, config.timeouts, context.now)?;
                Ok((link, exchange))
            });
            match begun {
                Ok((link, exchange)) => {
                    return Ok(Self {
                        hop: ports.hop.clone(),
                        endpoint: endpoint.clone(),
                        exchange,
                        link,
                        deaf: false,
                    });
                }
                Err(error) => last = Some((endpoint, error)),
            }
        }
        let (endpoint, mut error) = last.ok_or_else(|| {
            let text = "the remote hop names no endpoint: list one in 'endpoints'";
            Error::from(RemoteError::Config(text.into())).at_hop(&ports.hop)
        })?;
        let count = config.endpoints.len();
        if count > 1 {
            let last = Box::new(error);
            error = RemoteError::All { count, last };
        }
        Err(Error::from(error).at_hop(&ports.hop).at_endpoint(endpoint))
    }

    /// Takes a command. Never waits; frames come only within the credit that the hop gave, else the hop fails.
    pub fn send(&mut self, now: Timestamp, command: HopCommand) {
        if matches!(command, HopCommand::Interrupt) && self.exchange.may_discard() {
            // What waits is older than the interrupt, which is to overtake it.
            let discarded = self.link.discard_frames();
            self.exchange.discarded(&discarded);
        }
        if let Some((message, frame)) = self.exchange.command(now, command)
            && let Err(error) = self.link.send(message, frame, now)
        {
            self.exchange.failed(error);
        }
    }

    /// The next event. After [`HopEvent::Failed`], or after the last output's end, it stays pending.
    pub fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        loop {
            self.transmit(now);
            if let Some(event) = self.exchange.poll_event() {
                return Poll::Ready(self.placed(event));
            }
            if self.exchange.is_over() {
                if !self.deaf {
                    self.deaf = true;
                    self.link.close();
                }
                return Poll::Pending;
            }
            let taken = self.link.take_sent();
            self.exchange.taken(&taken);
            match self.link.poll_receive(cx, now) {
                Poll::Ready(Some(Ok(message))) => self.exchange.receive(now, message),
                Poll::Ready(Some(Err(error))) => self.exchange.failed(error),
                Poll::Ready(None) => self.exchange.closed(),
                Poll::Pending => {
                    // Only now: what had come in time but was not yet read is not late.
                    self.exchange.handle_timeout(now);
                    if let Some(event) = self.exchange.poll_event() {
                        return Poll::Ready(self.placed(event));
                    }
                    if self.exchange.waits_for_transport() {
                        self.link.wake_when_taken(cx);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// When [`RemoteHop::poll_event`] must be called again even if nothing comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.exchange.poll_timeout()
    }

    /// The endpoint as configured.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn transmit(&mut self, now: Timestamp) {
        while let Some(message) = self.exchange.poll_transmit() {
            if let Err(error) = self.link.send(message, None, now) {
                self.exchange.failed(error);
                return;
            }
        }
    }

    /// Adds where an error happened.
    fn placed(&self, event: HopEvent) -> HopEvent {
        match event {
            HopEvent::Failed(error) => {
                HopEvent::Failed(error.at_hop(&self.hop).at_endpoint(&self.endpoint))
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for RemoteHop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteHop")
            .field("hop", &self.hop)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
