//! `audio.dejitter`: packets as the network delivers them become a steady stream of float PCM.
//!
//! Reordering, lost and late packets, concealment and in-band correction are the jitter buffer's affair
//! ([`tidegate_media::jitter`]); this node feeds it, sets the timer that it asks for, and says what it saw.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{
    AudioFormat, Codec, Frame, JitterDecoder, JitterFigures, JitterSettings, Kind,
};

use super::decode::{self, Decode};
use super::params::{Span, within_span};
use super::typed::{Inputs, Typed, audio_input};
use crate::node::{Context, DropReason, Node, NodeError, Reception};
use crate::registry::{ParamError, Port, Ports};
use crate::stream::{Accepts, AudioPattern, StreamFormat};

pub(super) struct Dejitter;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Rate of what comes out, in Hz; as for audio.decode.
    sample_rate: Option<u32>,
    /// Channels of what comes out; as for audio.decode.
    channels: Option<u8>,
    /// Least time for which a missing packet is waited for, on a network without jitter; up to 1s. What comes in order goes on
    /// at once: no sound is held back for it.
    delay_min: Span,
    /// Most time for which a missing packet is waited for, whatever the jitter; sound that lies further behind is skipped. 20ms
    /// to 5s.
    delay_max: Span,
}

impl Default for Params {
    fn default() -> Self {
        let settings = JitterSettings::default();
        Self {
            sample_rate: None,
            channels: None,
            delay_min: Span(settings.delay_min),
            delay_max: Span(settings.delay_max),
        }
    }
}

impl Params {
    fn decoding(&self) -> decode::Params {
        decode::Params {
            sample_rate: self.sample_rate,
            channels: self.channels,
        }
    }

    fn settings(&self) -> JitterSettings {
        let usual = JitterSettings::default();
        JitterSettings {
            delay_min: self.delay_min.0,
            delay_max: self.delay_max.0,
            delay_initial: usual
                .delay_initial
                .clamp(self.delay_min.0, self.delay_max.0),
            ..usual
        }
    }
}

impl Typed for Dejitter {
    type Params = Params;

    const NAME: &'static str = "audio.dejitter";
    const SUMMARY: &'static str = "Puts RTP packets in order and in time, decodes them to float PCM and makes up for what is lost. \
                                   Inserted wherever a WebRTC client's sound is to be worked on.";
    const COST: &'static str = "as audio.decode, and under 1 µs a packet; 26 µs for 20 ms made up";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within_span("delay_max", params.delay_max, 20, 5_000)?;
        let most = params.delay_max.0.min(Duration::from_secs(1));
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        within_span("delay_min", params.delay_min, 0, most)
    }

    fn ports(&self, _: &Params) -> Ports {
        let accepts = Accepts::Audio(AudioPattern {
            codecs: vec![Codec::Opus, Codec::Pcmu, Codec::Pcma],
            packets: true,
            ..AudioPattern::default()
        });
        Ports {
            inputs: vec![Port::input("in", accepts, "Packets as they come.")],
            outputs: vec![Port::output(
                "out",
                Kind::Audio,
                "Float PCM with a steady time line.",
            )],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Decode.outputs(&params.decoding(), inputs)
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        if let Some(Some(StreamFormat::Audio { packets: false, .. })) = inputs.first() {
            return Decode.build(params.decoding(), inputs);
        }
        let input = audio_input(inputs, 0)?;
        let output = params.decoding().output(input)?;
        Ok(Box::new(Buffer {
            inner: buffer(&params, input, output)?,
            params,
            input,
            output,
            told: JitterFigures::default(),
            reception: Reception::default(),
            before: Reception::default(),
        }))
    }
}

fn buffer(
    params: &Params,
    input: AudioFormat,
    output: AudioFormat,
) -> Result<JitterDecoder, ParamError> {
    let (rate, channels) = (output.sample_rate, output.channels);
    JitterDecoder::new(input, rate, channels, params.settings())
        .map_err(|error| ParamError::new("", error.to_string()))
}

struct Buffer {
    inner: JitterDecoder,
    params: Params,
    input: AudioFormat,
    output: AudioFormat,
    /// The figures that were told already.
    told: JitterFigures,
    reception: Reception,
    /// What the buffers had counted that interrupts have emptied: the counts that are reported only grow.
    before: Reception,
}

impl Buffer {
    /// Emits what is due, says what was dropped, and sets the timer.
    fn advance(&mut self, cx: &mut Context<'_>) {
        while let Some(frame) = self.inner.poll(cx.now()) {
            cx.emit(0, frame);
        }
        self.tell(cx);
        match self.inner.poll_timeout() {
            Some(at) => cx.set_timer(at),
            None => cx.clear_timer(),
        }
    }

    fn tell(&mut self, cx: &mut Context<'_>) {
        let (now, before) = (self.inner.figures(), self.told);
        let more = |now: u64, before: u64| u32::try_from(now - before).unwrap_or(u32::MAX);
        cx.drop_frames(DropReason::Late, more(now.late, before.late));
        cx.drop_frames(
            DropReason::Duplicate,
            more(now.duplicates, before.duplicates),
        );
        cx.drop_frames(
            DropReason::OutOfWindow,
            more(now.discarded, before.discarded),
        );
        cx.drop_frames(
            DropReason::Undecodable,
            more(now.malformed, before.malformed),
        );
        let played = more(now.emitted, before.emitted);
        let waited = now.waited.saturating_sub(before.waited).checked_div(played);
        let reception = Reception {
            delay: waited.unwrap_or(self.reception.delay),
            concealed_samples: self.before.concealed_samples + now.concealed_samples,
            lost: self.before.lost + now.lost,
            late: self.before.late + now.late,
        };
        if reception != self.reception {
            cx.report_reception(reception);
            self.reception = reception;
        }
        self.told = now;
    }
}

impl Node for Buffer {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        if self.inner.insert(cx.now(), frame).is_err() {
            cx.drop_frame(DropReason::Undecodable);
        }
        self.advance(cx);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        self.advance(cx);
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        let mut now = cx.now();
        while self.inner.waiting() > 0 {
            let frame = self.inner.poll(now);
            match (frame, self.inner.poll_timeout()) {
                (Some(frame), _) => cx.emit(0, frame),
                (None, Some(at)) if at > now => now = at,
                (None, _) => break,
            }
        }
        self.tell(cx);
        cx.clear_timer();
        Ok(())
    }

    fn on_interrupt(&mut self, cx: &mut Context<'_>) {
        // The parameters made one before, so they do again.
        if let Ok(inner) = buffer(&self.params, self.input, self.output) {
            self.tell(cx);
            let waiting = u32::try_from(self.inner.waiting()).unwrap_or(u32::MAX);
            cx.drop_frames(DropReason::Interrupted, waiting);
            self.before = self.reception;
            self.inner = inner;
            self.told = JitterFigures::default();
            cx.clear_timer();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Payload, Rtp, Timestamp};

    use super::super::testing::{Bench, f32_of, micros, pcm, power_at, stream, tone};
    use super::*;

    const STEP: Duration = Duration::from_millis(20);

    /// One second of a tone as RTP packets of 20 ms.
    fn packets() -> Vec<Frame> {
        let mut encoder = Bench::new("audio.encode", json!({"codec": "opus"}), &[pcm(48_000, 1)]);
        let mut packets =
            encoder.frames(stream(48_000, 1, 960, &tone(1_000.0, 48_000, 48_000, 0.5)));
        for (index, packet) in (0_u16..).zip(&mut packets) {
            if let Payload::Audio(audio) = &mut packet.payload {
                audio.rtp = Some(Rtp {
                    sequence: 65_520_u16.wrapping_add(index),
                    timestamp: (u32::MAX - 4_000).wrapping_add(u32::from(index) * 960),
                    marker: index == 0,
                });
                audio.format = AudioFormat::WEBRTC_OPUS;
            }
        }
        packets
    }

    fn bench(params: serde_json::Value) -> Bench {
        let format = StreamFormat::Audio {
            format: AudioFormat::WEBRTC_OPUS,
            packets: true,
        };
        Bench::new("audio.dejitter", params, &[format])
    }

    /// Delivers packets every 20 ms, `None` where one is lost; gives what came out, with the instants.
    fn deliver(bench: &mut Bench, packets: Vec<Option<Frame>>) -> Vec<(Timestamp, Frame)> {
        let mut heard = deliver_some(bench, packets);
        heard.extend(bench.end().into_iter().map(|frame| (bench.now, frame)));
        heard
    }

    /// The same, and more will come.
    fn deliver_some(bench: &mut Bench, packets: Vec<Option<Frame>>) -> Vec<(Timestamp, Frame)> {
        let mut heard = Vec::new();
        for packet in packets {
            let until = bench.now + STEP;
            if let Some(packet) = packet {
                let made = bench.on(0, packet);
                heard.extend(made.into_iter().map(|(_, frame)| (bench.now, frame)));
            }
            let made = bench.run_until(until);
            heard.extend(made.into_iter().map(|(_, frame)| (until, frame)));
        }
        heard
    }

    #[test]
    fn a_clean_network_costs_no_delay_and_the_tone_is_whole() {
        let mut bench = bench(json!({"sample_rate": 16_000, "channels": 1}));
        assert_eq!(bench.formats, [pcm(16_000, 1)]);
        let start = bench.now;
        let heard = deliver(&mut bench, packets().into_iter().map(Some).collect());
        assert_eq!(heard.len(), 50);
        for (index, (at, frame)) in (0_i64..).zip(&heard) {
            assert_eq!(micros(frame), index * 20_000);
            let due = start + STEP * u32::try_from(index).expect("few");
            assert_eq!(*at, due, "at once");
        }
        let samples: Vec<f32> = heard.iter().flat_map(|(_, frame)| f32_of(frame)).collect();
        let power = power_at(1_000.0, 16_000, &samples[1_600..14_400]);
        assert!((power - 0.125).abs() < 0.03, "{power}");
    }

    #[test]
    fn a_lost_packet_is_made_up_for_and_told() {
        let mut bench = bench(json!({}));
        let mut packets: Vec<_> = packets().into_iter().map(Some).collect();
        packets[20] = None;
        packets[21] = None;
        let heard = deliver(&mut bench, packets);
        let mut end = 0;
        for (_, frame) in &heard {
            assert!((micros(frame) - end).abs() <= 2, "no hole");
            end = micros(frame) + i64::try_from(frame.duration().as_micros()).expect("short");
        }
        let told = bench.reception.expect("told");
        assert_eq!(told.lost, 2);
        assert!(told.concealed_samples >= 900, "{told:?}");
    }

    #[test]
    fn what_comes_twice_or_broken_is_counted() {
        let mut bench = bench(json!({}));
        let packets = packets();
        bench.on(0, packets[0].clone());
        bench.on(0, packets[1].clone());
        bench.on(0, packets[1].clone());
        let mut broken = packets[2].clone();
        if let Payload::Audio(audio) = &mut broken.payload {
            audio.data = bytes::Bytes::from_static(&[0xFF]);
        }
        bench.on(0, broken);
        let mut bare = packets[3].clone();
        if let Payload::Audio(audio) = &mut bare.payload {
            audio.rtp = None;
        }
        bench.on(0, bare);
        let count = |reason| {
            bench
                .drops
                .iter()
                .filter(|d| d.0 == reason)
                .map(|d| d.1)
                .sum::<u32>()
        };
        assert_eq!(count(DropReason::Undecodable), 2);
        assert_eq!(count(DropReason::Duplicate) + count(DropReason::Late), 1);
    }

    #[test]
    fn an_interrupt_counts_what_it_empties_and_forgets_no_figure() {
        let mut bench = bench(json!({}));
        let mut packets: Vec<_> = packets().into_iter().map(Some).collect();
        packets[10] = None;
        let rest = packets.split_off(30);
        deliver_some(&mut bench, packets);
        let lost = bench.reception.expect("told").lost;
        assert_eq!(lost, 1);
        // The first of them is missing, so that the others wait.
        for packet in rest.into_iter().flatten().skip(1).take(3) {
            assert!(bench.on(0, packet).is_empty(), "waits for its turn");
        }
        bench.interrupt();
        assert!(bench.drops.contains(&(DropReason::Interrupted, 3)));
        let told = bench.reception.expect("told");
        assert!(told.lost >= lost, "{told:?}");
        let heard = bench.on(0, self::packets()[40].clone());
        assert_eq!(heard.len(), 1, "goes on at once");
        assert!(bench.reception.expect("told").lost >= lost);
    }
}
