//! What comes from the worker: checked against what was agreed, and put into the graph's numbering.

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::hop::port_number;
use tidegate_proto::{PortName, ServerMessage};

use super::{Cause, Exchange, Input, Said};
use crate::compat;
use crate::error::RemoteError;

impl Exchange {
    /// What the worker sent.
    pub(crate) fn receive(&mut self, now: Timestamp, message: ServerMessage) {
        if self.over {
            return;
        }
        if let Err(error) = self.take(now, message) {
            self.failed(error);
        }
    }

    fn take(&mut self, now: Timestamp, message: ServerMessage) -> Result<(), RemoteError> {
        match message {
            ServerMessage::Frame {
                port,
                caused_port,
                frame,
            } => self.output(now, &port, caused_port.as_ref(), frame)?,
            ServerMessage::Credit(credit) => {
                let (_, input) = self.input(&credit.port)?;
                input.window.credited(&credit);
                self.watch.credited(now);
            }
            ServerMessage::Ack(ack) => {
                let (port, input) = self.input(&ack.port)?;
                let seq = input.numbering.to_graph(ack.seq).unwrap_or(input.newest);
                self.watch.acknowledged(now, port, seq);
                self.said.push_back(Said::Acknowledged { port, seq });
            }
            ServerMessage::ReplayFrom(place) => {
                let (port, input) = self.input(&place.port)?;
                // A place that is still to come asks for nothing that was sent.
                let seq = input.numbering.to_graph(place.seq).unwrap_or(u64::MAX);
                self.said.push_back(Said::ReplayFrom { port, seq });
            }
            ServerMessage::End { port } => {
                let output = self.named(&port)?;
                self.end_output(output);
            }
            ServerMessage::Ended { .. } => {
                self.over = true;
                self.watch.ended();
                self.said.push_back(Said::Over);
            }
            ServerMessage::Error(error) => return Err(RemoteError::Worker(error)),
            ServerMessage::Opened(_) => {
                return Err(RemoteError::Protocol("a second 'opened'".into()));
            }
            ServerMessage::Draining { deadline } => {
                self.said.push_back(Said::Draining { deadline });
            }
            // Its outputs' listeners hear of an interrupt from the graph; figures were not asked for.
            ServerMessage::Interrupted { .. } | ServerMessage::Stats(_) => {}
        }
        Ok(())
    }

    fn output(
        &mut self,
        now: Timestamp,
        port: &PortName,
        caused_port: Option<&PortName>,
        mut frame: Frame,
    ) -> Result<(), RemoteError> {
        let index = self.named(port)?;
        let output = &mut self.outputs[index];
        if output.ended {
            return Err(RemoteError::Protocol(format!(
                "a frame on '{port}' after its end"
            )));
        }
        if !compat::admits(output.format.as_ref(), output.kind, &frame) {
            return Err(RemoteError::Protocol(format!(
                "a frame of {} on '{port}', which is {}",
                shape(&frame),
                output
                    .format
                    .map_or_else(|| output.kind.to_string(), |format| format.to_string())
            )));
        }
        let credit = output.window.received().map_err(|_| {
            RemoteError::Protocol(format!("more frames on '{port}' than it had credit for"))
        })?;
        let place = output.port;
        if let Some(frames) = credit {
            self.credit(port.clone(), frames);
        }
        let cause = self.cause(caused_port, frame.meta.caused_by);
        self.watch.output(
            now,
            cause.map(|cause| (cause.port, cause.seq)),
            frame.meta.is_final,
        );
        frame.meta.caused_by = cause.map_or(0, |cause| cause.seq);
        frame.meta.caused_port = cause.map_or(0, |cause| port_number(cause.port));
        // What is joined to nothing is no loss.
        if let Some(port) = place {
            self.said.push_back(Said::Frame { port, cause, frame });
        }
        Ok(())
    }

    /// Which input is meant. Ports are numbered each for itself: where a worker does not say which one it means, of several that were sent
    /// this number it is the one that was sent most. For a number that was never sent the newest frame stands in.
    fn cause(&self, port: Option<&PortName>, wire: u64) -> Option<Cause> {
        if wire == 0 {
            return None;
        }
        let inputs = self.inputs.iter().enumerate();
        let meant = inputs.filter(|(_, input)| {
            input.name.is_some() && port.is_none_or(|port| input.name.as_ref() == Some(port))
        });
        let known = |(port, input): (usize, &Input)| {
            // What the end of an input causes has the number behind its last frame.
            let of_end = input.ended && input.numbering.is_next(wire);
            let of_end = of_end.then_some(input.newest + 1);
            let exact = input.numbering.to_graph(wire).or(of_end);
            let seq = exact.unwrap_or(input.newest);
            Some((exact.is_some(), input.newest, Cause { port, seq })).filter(|_| seq > 0)
        };
        let best = meant
            .filter_map(known)
            .max_by_key(|(exact, newest, _)| (*exact, *newest));
        best.map(|(.., cause)| cause)
    }

    fn input(&mut self, name: &PortName) -> Result<(usize, &mut Input), RemoteError> {
        let mut inputs = self.inputs.iter_mut().enumerate();
        let found = inputs.find(|(_, input)| input.name.as_ref() == Some(name));
        found.ok_or_else(|| RemoteError::Protocol(format!("input '{name}', which was not joined")))
    }

    fn named(&self, name: &PortName) -> Result<usize, RemoteError> {
        let found = self.outputs.iter().position(|output| output.name == *name);
        found.ok_or_else(|| {
            RemoteError::Protocol(format!(
                "output '{name}', which it did not list when it opened"
            ))
        })
    }

    fn end_output(&mut self, output: usize) {
        let output = &mut self.outputs[output];
        if !std::mem::replace(&mut output.ended, true)
            && let Some(port) = output.port
        {
            self.said.push_back(Said::Ended { port });
        }
    }
}

fn shape(frame: &Frame) -> String {
    match &frame.payload {
        tidegate_media::Payload::Audio(audio) => audio.format.to_string(),
        tidegate_media::Payload::Video(video) => video.format.codec.as_str().to_owned(),
        other => other.kind().to_string(),
    }
}
