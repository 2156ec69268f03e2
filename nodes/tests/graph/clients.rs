//! Clients that come and go while a session runs.

use tidegate_media::{AudioFormat, Codec};
use tidegate_nodes::graph::{Input, Mode, Output};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::{Code, StreamFormat};

use crate::toolkit::*;

fn echo() -> Sketch {
    let mut sketch = Sketch::new();
    let from = sketch.input("mic", StreamFormat::audio(AudioFormat::pcm_f32(48_000, 1)));
    let to = sketch.output(
        "speaker",
        StreamFormat::audio(AudioFormat::pcm_f32(48_000, 1)),
    );
    sketch.join(from, to);
    sketch
}

fn packets() -> StreamFormat {
    let format = AudioFormat {
        codec: Codec::Opus,
        ..AudioFormat::WEBRTC_OPUS
    };
    StreamFormat::Audio {
        format,
        packets: true,
    }
}

fn opus_packet(number: u16) -> tidegate_media::Frame {
    let mut frame = packet(number);
    if let tidegate_media::Payload::Audio(audio) = &mut frame.payload {
        audio.format = AudioFormat::WEBRTC_OPUS;
    }
    frame
}

#[test]
fn what_a_client_sends_is_converted_to_what_flows_inside() {
    let mut bench = echo().run();
    bench
        .graph
        .attach_input(at(1), 0, packets(), Mode::Live)
        .unwrap();
    bench.listen(0, Mode::Live, false);
    bench.send(0, opus_packet(0));
    bench.send(0, opus_packet(1));
    assert_eq!(bench.heard().len(), 1);
    let row = bench.stats("mic:dejitter");
    assert_eq!((row.frames_in, row.frames_out, row.inserted), (2, 1, true));
    assert_eq!(&*row.node_type, "audio.dejitter");
    assert_eq!(bench.graph.reception(0), None);
    assert_eq!(bench.graph.reception(2).unwrap().lost, 2);
}

#[test]
fn what_the_conversions_of_a_client_hold_goes_on_when_it_leaves() {
    let mut bench = echo().run();
    bench
        .graph
        .attach_input(at(1), 0, packets(), Mode::Live)
        .unwrap();
    bench.listen(0, Mode::Live, false);
    bench.send(0, opus_packet(0));
    assert_eq!(bench.heard().len(), 0);
    bench.graph.detach_input(at(2), 0);
    bench.give(Input::Interrupt);
    assert_eq!(bench.heard().len(), 1);
    assert_eq!(bench.stats("mic:dejitter").frames_out, 1);
}

#[test]
fn an_input_has_one_client_at_a_time() {
    let mut bench = echo().run();
    let attach = |bench: &mut Bench| bench.graph.attach_input(at(1), 0, packets(), Mode::Live);
    attach(&mut bench).unwrap();
    assert_eq!(attach(&mut bench).unwrap_err().code, Code::BadRequest);
    bench.graph.detach_input(at(2), 0);
    attach(&mut bench).unwrap();
    assert_eq!(
        bench.graph.hop_stats().len(),
        3,
        "the second client's conversion shares the row"
    );
    bench.end(0);
    bench.graph.detach_input(at(3), 0);
    assert_eq!(attach(&mut bench).unwrap_err().code, Code::BadRequest);
    let error = bench
        .graph
        .attach_input(at(1), 5, packets(), Mode::Live)
        .unwrap_err();
    assert_eq!(error.code, Code::BadRequest);
}

#[test]
fn a_client_whose_format_leads_nowhere_is_refused() {
    let mut bench = echo().run();
    let error = bench
        .graph
        .attach_input(at(1), 0, TEXT, Mode::Live)
        .unwrap_err();
    assert_eq!(error.code, Code::Incompatible);
}

#[test]
fn an_input_without_a_client_takes_the_format_that_flows_inside() {
    let mut bench = echo().run();
    bench.listen(0, Mode::Live, false);
    bench.send(0, audio(0));
    assert_eq!(bench.dropped("mic", DropReason::Undecodable), 1);
}

#[test]
fn listeners_that_come_after_the_end_are_told_so_at_once() {
    let mut bench = echo().run();
    bench.open(Mode::Live);
    let other = bench.listen(0, Mode::Live, true);
    bench.end(0);
    assert_eq!(bench.take().len(), 3);
    let late = bench.listen(0, Mode::Live, true);
    assert_eq!(bench.take(), [Output::Ended { egress: late }]);
    assert!(late > other);
}

#[test]
fn a_listener_that_does_not_take_the_rest_keeps_the_session_open_until_it_goes() {
    let mut bench = echo().run();
    let egress = bench.listen(0, Mode::Waits, true);
    let mut frame = audio(0);
    let tidegate_media::Payload::Audio(audio) = &mut frame.payload else {
        panic!()
    };
    audio.format = AudioFormat::pcm_f32(48_000, 1);
    bench.send(0, frame);
    bench.end(0);
    assert_eq!(bench.take(), []);
    bench.graph.detach_output(bench.now, egress);
    bench.give(Input::Interrupt);
    assert_eq!(bench.take(), [Output::Finished]);
    assert_eq!(bench.dropped("speaker", DropReason::Detached), 1);
}

#[test]
fn numbers_of_listeners_are_never_used_again() {
    let mut bench = echo().run();
    let first = bench.listen(0, Mode::Live, true);
    bench.graph.detach_output(at(1), first);
    bench.graph.detach_output(at(1), first);
    let second = bench.listen(0, Mode::Live, true);
    assert!(second > first);
}
