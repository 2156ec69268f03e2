//! `audio.mix`: several voices into one, aligned by media time; for each seat also the mix without itself.
//!
//! The mix is made in blocks on its own time line. A live block is made when every active input has brought its part, or when one
//! has waited for the others as long as `wait` says: then those that are late are silence. An input is placed by its media
//! time if that is near the mix's own, else where the mix stands; one that is silent for a while is no longer waited for until
//! it comes again ([`track`]). Without `live`, a block waits for every input that has not ended, and no clock is needed: files
//! are mixed exactly and at any speed.

mod mixer;
mod track;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_media::{AudioFormat, Kind, SAMPLE_RATES};

use self::mixer::Mixer;
use super::params::{Span, millis, within, within_span};
use super::pcm::pcm_at;
use super::typed::{Inputs, Typed};
use crate::node::Node;
use crate::registry::{ParamError, Port, Ports};
use crate::stream::{Accepts, StreamFormat};

/// Most inputs.
const INPUTS_MAX: usize = 64;

pub(super) struct Mix;

/// How many inputs there are, or their names.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Seats {
    /// That many, named `in1`, `in2` and so on.
    Count(u8),
    /// These.
    Names(Vec<String>),
}

impl Seats {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Count(count) => (1..=*count).map(|index| format!("in{index}")).collect(),
            Self::Names(names) => names.clone(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Inputs: a count (then they are named `in1`, `in2`, …) or a list of names; 1 to 64.
    inputs: Seats,
    /// Instead of `out`, an output for each input, named like it: the mix without that input.
    minus_self: bool,
    /// Rate in Hz; 4000 to 384000.
    sample_rate: u32,
    /// Channels; 1 or 2.
    channels: u8,
    /// Length of a block, 5ms to 100ms.
    frame: Span,
    /// Waits for nobody longer than `wait`. If false, it waits for each input that has an edge until that has ended: for files.
    live: bool,
    /// How long a live block waits for inputs that are late, 0ms to 10s.
    wait: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            inputs: Seats::Count(2),
            minus_self: false,
            sample_rate: 48_000,
            channels: 1,
            frame: millis(20),
            live: true,
            wait: millis(40),
        }
    }
}

impl Params {
    const fn format(&self) -> AudioFormat {
        AudioFormat::pcm_f32(self.sample_rate, self.channels)
    }
}

impl Typed for Mix {
    type Params = Params;

    const NAME: &'static str = "audio.mix";
    const SUMMARY: &'static str = "Mixes several voices, aligned by media time; inputs may come, pause and go. What exceeds full scale is clipped.";
    const COST: &'static str =
        "6 µs for 20 ms of 48 kHz mono from four inputs; 8 µs with an output for each";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        let names = params.inputs.names();
        if names.is_empty() || names.len() > INPUTS_MAX {
            let message = format!("{} inputs: use 1 to {INPUTS_MAX}", names.len());
            return Err(ParamError::new("inputs", message));
        }
        for (index, name) in names.iter().enumerate() {
            if !is_name(name) {
                let message = format!(
                    "'{name}' is no port name: use small letters, digits, - and _, a letter first"
                );
                return Err(ParamError::new(format!("inputs[{index}]"), message));
            }
            if names[..index].contains(name) {
                let message = format!("'{name}' is there twice");
                return Err(ParamError::new(format!("inputs[{index}]"), message));
            }
        }
        within("sample_rate", params.sample_rate, SAMPLE_RATES)?;
        within("channels", params.channels, 1..=2)?;
        within_span("frame", params.frame, 5, 100)?;
        within_span("wait", params.wait, 0, 10_000)
    }

    fn ports(&self, params: &Params) -> Ports {
        let accepts: Accepts = pcm_at(&[params.sample_rate], &[params.channels]);
        let names = params.inputs.names();
        let seat = |name: &String| {
            let mut port = Port::input(name.clone(), accepts.clone(), "A voice.");
            port.required = false;
            port
        };
        let without =
            |name| Port::output(name, Kind::Audio, "The mix without the input of this name.");
        Ports {
            inputs: names.iter().map(seat).collect(),
            outputs: if params.minus_self {
                names.into_iter().map(without).collect()
            } else {
                vec![Port::output("out", Kind::Audio, "The mix.")]
            },
        }
    }

    fn outputs(&self, params: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        let outputs = if params.minus_self {
            params.inputs.names().len()
        } else {
            1
        };
        Ok(vec![StreamFormat::audio(params.format()); outputs])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let joined: Vec<bool> = inputs.iter().map(Option::is_some).collect();
        let (frame, wait) = (params.frame.0, params.live.then_some(params.wait.0));
        let mixer = Mixer::new(params.format(), &joined, params.minus_self, frame, wait);
        Ok(Box::new(mixer))
    }
}

/// Whether a text can be named in an edge.
fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 64
        && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests;
