//! The formats that `open` named, for frames that leave theirs out.

use tidegate_media::{AudioFormat, VideoFormat};

use super::{Open, Opened, StreamSpec};
use crate::name::PortName;

/// Formats of ports by name. Sessions have a handful of ports, so this is a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFormats(Vec<(PortName, StreamSpec)>);

impl PortFormats {
    /// Formats of the inputs that this `open` named: for decoding what its sender sends.
    #[must_use]
    pub fn of_inputs(open: &Open) -> Self {
        Self(open.inputs.clone())
    }

    /// Formats of the ports that this `opened` lists: for decoding what its sender sends.
    #[must_use]
    pub fn of_opened(opened: &Opened) -> Self {
        let known = opened
            .ports
            .iter()
            .filter_map(|port| Some((port.name.clone(), port.format?)));
        Self(known.collect())
    }

    /// Sets a port's format.
    pub fn set(&mut self, port: PortName, format: StreamSpec) {
        match self.0.iter_mut().find(|(name, _)| *name == port) {
            Some(entry) => entry.1 = format,
            None => self.0.push((port, format)),
        }
    }

    /// The port's audio format, or what audio is unless somebody says otherwise.
    #[must_use]
    pub fn audio(&self, port: &str) -> AudioFormat {
        match self.get(port) {
            Some(StreamSpec::Audio(format)) => format,
            _ => StreamSpec::DEFAULT_AUDIO,
        }
    }

    /// The port's video format.
    #[must_use]
    pub fn video(&self, port: &str) -> Option<VideoFormat> {
        match self.get(port) {
            Some(StreamSpec::Video(format)) => Some(format),
            _ => None,
        }
    }

    fn get(&self, port: &str) -> Option<StreamSpec> {
        let found = self.0.iter().find(|(name, _)| name.as_str() == port);
        found.map(|(_, format)| *format)
    }
}
