//! Manifests that compile: what is inserted where, and what binding decides.

mod types;

use serde_json::json;
use tidegate_media::{AudioFormat, Codec};
use tidegate_nodes::plan::{Mode, Plan, WhenFull};
use tidegate_nodes::{Binding, Code, Grants, Pipeline, StreamFormat};

const OPUS_PACKETS: StreamFormat = StreamFormat::Audio {
    format: AudioFormat::WEBRTC_OPUS,
    packets: true,
};

const INTERPRETER: &str = include_str!("manifests/interpreter.yaml");

fn compile(text: &str) -> Pipeline {
    let grants = Grants::operator([("STT_TOKEN".to_owned(), "secret-token".to_owned())]);
    match Pipeline::from_text("test.yaml", text, &types::registry(), &grants) {
        Ok(pipeline) => pipeline,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

fn live(formats: &[StreamFormat]) -> Binding {
    Binding {
        inputs: formats.iter().copied().map(Some).collect(),
        ..Binding::default()
    }
}

fn hops(plan: &Plan) -> Vec<String> {
    plan.hops
        .iter()
        .map(|hop| {
            let formats = |ports: &[tidegate_nodes::plan::PlanPort]| {
                ports
                    .iter()
                    .map(|p| p.format.map_or("-".to_owned(), |f| f.to_string()))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            format!(
                "{} {} -> {}",
                hop.id,
                formats(&hop.inputs),
                formats(&hop.outputs)
            )
        })
        .collect()
}

#[test]
fn the_design_example_compiles_and_binds() {
    let pipeline = compile(INTERPRETER);
    assert_eq!(pipeline.warnings().to_string(), "");
    let plan = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap();
    assert_eq!(plan.inputs[0].format.to_string(), "pcm_f32/16000/1");
    assert_eq!(
        hops(&plan),
        [
            "vad pcm_f32/16000/1 -> pcm_f32/16000/1,json,-",
            "stt pcm_f32/16000/1 -> text",
            "tts text -> pcm_f32/48000/1",
        ]
    );
    assert_eq!(plan.hops[2].params["parameters"]["voice"], json!("es"));
    assert_eq!(plan.hops[1].params["auth"]["bearer"], json!("secret-token"));
    assert_eq!(plan.outputs[0].format.to_string(), "pcm_f32/48000/1");
    assert!(plan.outputs[0].paced && !plan.outputs[1].paced);
    let interrupt = plan.interrupt.unwrap();
    assert_eq!(interrupt.flush, [2]);
}

#[test]
fn echo_inserts_nothing_and_passes_packets() {
    let pipeline = compile(
        "{version: tidegate/v1, name: echo, inputs: [{name: mic, kind: audio}], \
         outputs: [{name: speaker, kind: audio}], edges: [mic -> speaker]}",
    );
    let plan = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap();
    assert!(plan.hops.is_empty());
    assert_eq!(plan.inputs[0].format, OPUS_PACKETS);
    assert_eq!(plan.outputs[0].format, OPUS_PACKETS);
    assert_eq!(plan.outputs[0].queue.when_full, WhenFull::DropOldest);
    assert!(pipeline.describe().hops.is_empty());
}

#[test]
fn a_waiting_input_blocks_and_is_not_paced() {
    let pipeline = compile(
        "{version: tidegate/v1, name: slow, inputs: [{name: mic, kind: audio}], \
         outputs: [{name: speaker, kind: audio}], nodes: [{id: s, type: audio.slow}], \
         edges: [mic -> s -> speaker]}",
    );
    assert_eq!(pipeline.warnings().len(), 1);
    let refused = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap_err();
    assert_eq!(refused.code, Code::Incompatible);
    assert!(refused.message.contains("'mic -> s'"), "{refused}");
    assert!(refused.message.contains("drop_oldest"), "{refused}");
    let plan = pipeline
        .bind(&Binding {
            modes: vec![Mode::Waits],
            ..live(&[OPUS_PACKETS])
        })
        .unwrap();
    assert!(!plan.outputs[0].paced);
    assert_eq!(plan.outputs[0].queue.when_full, WhenFull::Block);
}

#[test]
fn conversions_are_inserted_between_nodes() {
    let pipeline = compile(
        "{version: tidegate/v1, name: c, inputs: [{name: mic, kind: audio}], \
         outputs: [{name: speaker, kind: audio}, {name: phone, kind: audio, format: pcmu/8000/1}], \
         nodes: [{id: g, type: audio.gain}, {id: v, type: audio.vad}], \
         edges: [mic -> g -> speaker, g -> v, v.speech -> phone]}",
    );
    let plan = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap();
    assert_eq!(plan.inputs[0].format.to_string(), "pcm_f32/48000/1");
    assert_eq!(
        hops(&plan),
        [
            "g pcm_f32/48000/1 -> pcm_f32/48000/1",
            "v pcm_f32/16000/1 -> pcm_f32/16000/1,-,-",
            "v.in:resample pcm_f32/48000/1 -> pcm_f32/16000/1",
            "phone.in:resample pcm_f32/16000/1 -> pcm_f32/8000/1",
            "phone.in:encode pcm_f32/8000/1 -> pcmu/8000/1",
        ]
    );
    assert_eq!(
        plan.outputs[1].format.audio_format().unwrap().codec,
        Codec::Pcmu
    );
}

#[test]
fn parameters_are_checked_at_binding() {
    let pipeline = compile(INTERPRETER);
    let bind = |value: serde_json::Value| {
        let mut binding = live(&[OPUS_PACKETS]);
        binding.parameters = value.as_object().unwrap().clone();
        pipeline.bind(&binding)
    };
    let plan = bind(json!({"voice": "fr"})).unwrap();
    assert_eq!(plan.hops[2].params["parameters"]["voice"], json!("fr"));
    let unknown = bind(json!({"voise": "fr"})).unwrap_err();
    assert_eq!(unknown.code, Code::BadRequest);
    assert!(
        unknown.message.contains("did you mean 'voice'?"),
        "{unknown}"
    );
    let wrong = bind(json!({"voice": 7})).unwrap_err();
    assert_eq!(wrong.code, Code::BadRequest);
}

#[test]
fn a_cycle_through_a_queue_is_allowed() {
    let pipeline = compile(
        "{version: tidegate/v1, name: feedback, inputs: [{name: mic, kind: audio}], \
         outputs: [{name: speaker, kind: audio}], \
         nodes: [{id: m, type: audio.mix}, {id: s, type: audio.slow}], \
         edges: [mic -> m -> speaker, {from: m, to: s, queue: {when_full: drop_oldest}}, s -> m]}",
    );
    let plan = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap();
    assert_eq!(
        hops(&plan),
        [
            "m pcm_f32/48000/1 -> pcm_f32/48000/1",
            "s pcm_f32/48000/1 -> pcm_f32/48000/1",
        ]
    );
    assert_eq!(plan.edges.len(), 4);
}
