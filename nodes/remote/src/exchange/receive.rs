//! What comes from the worker: checked against what was agreed, then an event.

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::{DropReason, HopEvent};
use tidegate_proto::{PortName, ServerMessage};

use super::{Exchange, Input};
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
            ServerMessage::Frame { port, frame, .. } => self.output(now, &port, frame)?,
            ServerMessage::Credit(credit) => {
                let (_, input) = self.input(&credit.port)?;
                input.window.credited(&credit);
                self.grant();
            }
            ServerMessage::Ack(ack) => {
                let (port, input) = self.input(&ack.port)?;
                let seq = input.numbering.to_graph(ack.seq);
                self.watch.acknowledged(now, port, seq);
                let event = HopEvent::Acknowledged { port, seq };
                self.events.push_back(event);
            }
            ServerMessage::End { port } => {
                let output = self.named(&port)?;
                self.end(output);
            }
            ServerMessage::Ended { .. } => {
                for output in 0..self.outputs.len() {
                    self.end(output);
                }
                self.over = true;
                self.watch.ended();
            }
            ServerMessage::Error(error) => return Err(RemoteError::Worker(error)),
            ServerMessage::Opened(_) => {
                return Err(RemoteError::Protocol("a second 'opened'".into()));
            }
            ServerMessage::Draining { deadline } => {
                tracing::info!(?deadline, "worker of a remote hop is draining");
            }
            // Its outputs' listeners hear of an interrupt from the graph; figures and replay were not asked for.
            ServerMessage::Interrupted { .. }
            | ServerMessage::Stats(_)
            | ServerMessage::ReplayFrom(_) => {}
        }
        Ok(())
    }

    fn output(
        &mut self,
        now: Timestamp,
        port: &PortName,
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
        if let Some(input) = self.only_fed() {
            frame.meta.caused_by = input.numbering.to_graph(frame.meta.caused_by);
        }
        let caused_by = frame.meta.caused_by;
        self.watch.output(now, caused_by);
        if (1..=self.void_up_to).contains(&caused_by) {
            self.drop_frames(DropReason::Interrupted, 1);
            return Ok(());
        }
        // What the manifest joins to nothing is not asked for, so it is no loss.
        if let Some(port) = place {
            self.events.push_back(HopEvent::Frame { port, frame });
        }
        Ok(())
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

    fn end(&mut self, output: usize) {
        let output = &mut self.outputs[output];
        if !std::mem::replace(&mut output.ended, true)
            && let Some(port) = output.port
        {
            self.events.push_back(HopEvent::Ended { port });
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
