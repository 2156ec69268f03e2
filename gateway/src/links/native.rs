//! The native stream's messages as a session's events, whatever carries them.
//!
//! Checks what the schema cannot: that a port is this client's, that numbers count by one, that a frame has the format that `open`
//! named. A client that breaks a rule gets an error that names the message.

use tidegate_media::{Frame, Kind, Meta, Payload};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::hop::port_number;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::PortName;
use tidegate_proto::message::{
    self, Ack, ClientMessage, Credit, Direction, Limits, Open, Opened, PortFormats, ServerMessage,
    Stats, StreamSpec,
};

use super::wire::{port, stats, wire_error};
use crate::session::link::{Features, LinkEvent, LinkMessage, OpenedInfo, Wishes};
use crate::session::ports::PortFacts;

/// Features that this gateway offers.
const FEATURES: [&str; 3] = [
    message::feature::CREDITS,
    message::feature::STATS,
    message::feature::ACKS,
];

/// One client's side of the native stream.
pub(crate) struct Native {
    open: Open,
    wanted: Vec<String>,
    inputs: Vec<Input>,
    outputs: Vec<(usize, PortName)>,
}

struct Input {
    index: usize,
    name: PortName,
    format: StreamFormat,
    next: u64,
    ended: bool,
}

impl Native {
    /// The side of a client that sent this `open`.
    pub(crate) fn new(open: Open) -> Self {
        let wanted = open
            .as_ports
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect();
        Self {
            open,
            wanted,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The formats that frames may leave out.
    pub(crate) fn formats(&self) -> PortFormats {
        PortFormats::of_inputs(&self.open)
    }

    /// The name of the output whose frames go out raw, and of the input that raw messages feed.
    pub(crate) fn raw(&self) -> (Option<&PortName>, Option<&PortName>) {
        let raw = self.open.raw.as_ref();
        (
            raw.and_then(|raw| raw.input.as_ref()),
            raw.and_then(|raw| raw.output.as_ref()),
        )
    }

    /// Whether an output's frames go out raw.
    pub(crate) fn is_raw_output(&self, output: usize) -> bool {
        let (_, raw) = self.raw();
        raw.is_some_and(|raw| {
            self.outputs
                .iter()
                .any(|(o, name)| *o == output && name == raw)
        })
    }

    /// The event that a message means.
    ///
    /// # Errors
    /// The message breaks a rule of the protocol.
    pub(crate) fn decode(&mut self, message: ClientMessage) -> Result<LinkEvent, Error> {
        match message {
            ClientMessage::Frame { port, frame } => self.frame(port.as_str(), frame),
            ClientMessage::Interrupt => Ok(LinkEvent::Interrupt),
            ClientMessage::End { port: None } => Ok(LinkEvent::End { input: None }),
            ClientMessage::End { port: Some(port) } => {
                let input = self.input(port.as_str(), "end")?;
                input.ended = true;
                Ok(LinkEvent::End {
                    input: Some(input.index),
                })
            }
            ClientMessage::Credit(credit) => {
                let output = self.output(credit.port.as_str())?;
                Ok(LinkEvent::Credit {
                    output,
                    frames: credit.frames,
                })
            }
            ClientMessage::Ack(ack) => {
                self.output(ack.port.as_str())?;
                Ok(LinkEvent::Ack)
            }
            ClientMessage::Open(_) => Err(bad(
                "open came twice: one stream carries one session".to_owned()
            )),
        }
    }

    /// A frame for a port by name. Unnumbered frames are numbered.
    pub(crate) fn frame(&mut self, port: &str, mut frame: Frame) -> Result<LinkEvent, Error> {
        let input = self.input(port, "frame")?;
        if input.ended {
            return Err(bad(format!("frame for input '{port}' after its end")));
        }
        if frame.meta.seq == 0 {
            frame.meta.seq = input.next;
        }
        if frame.meta.seq != input.next {
            let (got, want) = (frame.meta.seq, input.next);
            let text =
                format!("frame {got} for input '{port}' where {want} was due: seq counts by 1");
            return Err(bad(text));
        }
        check_format(&frame, input)?;
        input.next += 1;
        Ok(LinkEvent::Frame {
            input: input.index,
            frame,
        })
    }

    fn input(&mut self, port: &str, message: &str) -> Result<&mut Input, Error> {
        let at = self
            .inputs
            .iter()
            .position(|input| input.name.as_str() == port);
        match at {
            Some(at) => Ok(&mut self.inputs[at]),
            None => {
                let names: Vec<_> = self
                    .inputs
                    .iter()
                    .map(|input| input.name.as_str())
                    .collect();
                Err(bad(format!(
                    "{message} for unknown input '{port}': this client's inputs are [{}]",
                    names.join(", ")
                )))
            }
        }
    }

    fn output(&self, port: &str) -> Result<usize, Error> {
        let found = self.outputs.iter().find(|(_, name)| name.as_str() == port);
        found.map(|(output, _)| *output).ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|(_, name)| name.as_str()).collect();
            bad(format!(
                "unknown output '{port}': this client's outputs are [{}]",
                names.join(", ")
            ))
        })
    }

    fn name(&self, output: usize) -> Option<PortName> {
        self.outputs
            .iter()
            .find(|(o, _)| *o == output)
            .map(|(_, name)| name.clone())
    }

    fn input_name(&self, input: usize) -> Option<PortName> {
        self.inputs
            .iter()
            .find(|i| i.index == input)
            .map(|i| i.name.clone())
    }

    /// The input that a frame's cause counts on, where this client has several. What another client's input caused, in a shared
    /// session, has no cause that this one could know.
    fn caused_port(&self, meta: &mut Meta) -> Option<PortName> {
        let is_cause = |input: &Input| port_number(input.index) == meta.caused_port;
        match &self.inputs[..] {
            [only] if is_cause(only) => None,
            inputs => {
                let found = inputs.iter().find(|input| is_cause(input));
                if found.is_none() {
                    meta.caused_by = 0;
                }
                found
                    .filter(|_| meta.caused_by > 0)
                    .map(|input| input.name.clone())
            }
        }
    }

    /// The message that the session's words mean; `None` where the native stream has none.
    pub(crate) fn encode(&mut self, message: LinkMessage) -> Option<ServerMessage> {
        Some(match message {
            LinkMessage::Frame { output, mut frame } => ServerMessage::Frame {
                port: self.name(output)?,
                caused_port: self.caused_port(&mut frame.meta),
                frame,
            },
            LinkMessage::Opened(info) => ServerMessage::Opened(Box::new(self.opened(*info))),
            LinkMessage::Interrupted { output } => ServerMessage::Interrupted {
                port: self.name(output),
                reason: "the listener was interrupted".to_owned(),
            },
            LinkMessage::OutputEnded { output } => ServerMessage::End {
                port: self.name(output)?,
            },
            LinkMessage::Credit {
                input,
                frames,
                bytes,
            } => ServerMessage::Credit(Credit {
                port: self.input_name(input)?,
                frames,
                bytes,
            }),
            LinkMessage::Ack { input, seq } => ServerMessage::Ack(Ack {
                port: self.input_name(input)?,
                seq,
            }),
            LinkMessage::ReplayFrom { input, seq } => ServerMessage::ReplayFrom(Ack {
                port: self.input_name(input)?,
                seq,
            }),
            LinkMessage::KeyFrameWanted { .. } => return None,
            LinkMessage::Stats(hops) => ServerMessage::Stats(Box::new(Stats {
                hops: hops.into_iter().map(stats).collect(),
            })),
            LinkMessage::Draining { deadline } => ServerMessage::Draining { deadline },
            LinkMessage::Error(error) => ServerMessage::Error(Box::new(wire_error(error))),
            LinkMessage::Ended { reason } => ServerMessage::Ended {
                reason: reason.to_owned(),
            },
        })
    }

    fn opened(&mut self, info: OpenedInfo) -> Opened {
        let mut ports = Vec::new();
        for (index, name, format) in info.inputs {
            let Ok(name) = PortName::new(name) else {
                continue;
            };
            ports.push(port(name.clone(), Direction::Input, format));
            self.inputs.push(Input {
                index,
                name,
                format,
                next: 1,
                ended: false,
            });
        }
        for (index, name, format) in info.outputs {
            let Ok(name) = PortName::new(name) else {
                continue;
            };
            ports.push(port(name.clone(), Direction::Output, format));
            self.outputs.push((index, name));
        }
        let asked = &self.open.features;
        Opened {
            session_id: info.session_id,
            ports,
            features: FEATURES
                .iter()
                .filter(|name| asked.iter().any(|feature| feature == *name))
                .map(|name| (*name).to_owned())
                .collect(),
            limits: Limits {
                message_bytes: info.message_bytes,
                session: info.session_limit,
                idle: info.idle_limit,
            },
            pipeline: info.pipeline,
            gateway: env!("CARGO_PKG_VERSION").to_owned(),
            deterministic: info.deterministic,
        }
    }
}

impl Wishes for Native {
    fn mode(&self) -> Mode {
        match self.open.mode {
            message::Mode::Live => Mode::Live,
            message::Mode::Waits => Mode::Waits,
        }
    }

    fn plays(&self) -> bool {
        self.open.hop_count == 0
    }

    fn wanted_ports(&self) -> &[String] {
        &self.wanted
    }

    fn features(&self) -> Features {
        let has = |name: &str| self.open.features.iter().any(|feature| feature == name);
        Features {
            credits: has(message::feature::CREDITS),
            stats: has(message::feature::STATS),
            acks: has(message::feature::ACKS),
        }
    }

    fn fits(&self, inputs: &[&PortFacts], outputs: &[&PortFacts]) -> Result<(), Error> {
        let (input, output) = self.raw();
        for (key, name, ports) in [("input", input, inputs), ("output", output, outputs)] {
            let Some(name) = name else { continue };
            let found = ports.iter().find(|port| port.name == name.as_str());
            if found.is_some_and(|port| port.kind == Kind::Audio) {
                continue;
            }
            let what = match found {
                Some(port) => format!("carries {}: only audio can be raw", port.kind),
                None => format!("is no {key} of this client"),
            };
            return Err(bad(format!("open.raw.{key} names '{name}', which {what}")));
        }
        Ok(())
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        Some(match port.kind {
            Kind::Audio => StreamFormat::audio(self.formats().audio(&port.name)),
            Kind::Video => StreamFormat::Video(self.formats().video(&port.name)?),
            Kind::Text => StreamFormat::Text,
            Kind::Binary => StreamFormat::Binary,
            Kind::Tensor => StreamFormat::Tensor,
            Kind::Json => StreamFormat::Json,
        })
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        if port.kind != Kind::Audio {
            return Some(Accepts::Kind(port.kind));
        }
        // As it asked; else audio comes as it sends audio.
        let asked = self
            .open
            .outputs
            .iter()
            .find(|(name, _)| name.as_str() == port.name);
        let sent = || {
            self.open
                .inputs
                .iter()
                .find(|(_, spec)| matches!(spec, StreamSpec::Audio(_)))
        };
        let format = match asked.or_else(sent) {
            Some((_, StreamSpec::Audio(format))) => *format,
            _ => StreamSpec::DEFAULT_AUDIO,
        };
        Some(Accepts::Audio(AudioPattern {
            codecs: vec![format.codec],
            sample_rates: vec![format.sample_rate],
            channels: vec![format.channels],
            packets: false,
        }))
    }
}

fn check_format(frame: &Frame, input: &Input) -> Result<(), Error> {
    let (name, agreed) = (input.name.as_str(), input.format);
    let (kind, takes) = (frame.payload.kind(), agreed.kind());
    if kind != takes {
        let text =
            format!("frame for input '{name}' carries {kind}, and it takes {takes}: send {takes}");
        return Err(Error::new(Code::Incompatible, text));
    }
    let got = match (&frame.payload, agreed) {
        (Payload::Audio(audio), StreamFormat::Audio { format, .. }) if audio.format != format => {
            audio.format.to_string()
        }
        (Payload::Video(video), StreamFormat::Video(format)) if video.format != format => {
            kind.to_string()
        }
        _ => return Ok(()),
    };
    let text = format!(
        "frame for input '{name}' carries {got} where {agreed} was agreed: name its format in open.inputs"
    );
    Err(Error::new(Code::UnsupportedMedia, text))
}

fn bad(text: String) -> Error {
    Error::new(Code::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_plays_what_it_hears_and_a_gateway_in_front_does_not() {
        let plays = |hop_count| {
            let open = Open {
                hop_count,
                ..Open::default()
            };
            Native::new(open).plays()
        };
        assert_eq!([0, 1, 2].map(plays), [true, false, false]);
    }
}
