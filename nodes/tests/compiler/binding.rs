//! Manifests that compile: what is inserted where, and what binding decides.

use serde_json::json;
use tidegate_media::{AudioFormat, Codec, Kind};
use tidegate_nodes::plan::{Mode, Plan, WhenFull};
use tidegate_nodes::{Accepts, Binding, Code, Grants, Pipeline, Port, Ports, StreamFormat};

const OPUS_PACKETS: StreamFormat = StreamFormat::Audio {
    format: AudioFormat::WEBRTC_OPUS,
    packets: true,
};

const INTERPRETER: &str = include_str!("../manifests/interpreter.yaml");

fn compile(text: &str) -> Pipeline {
    let grants = Grants::operator([("STT_TOKEN".to_owned(), "secret-token".to_owned())]);
    match Pipeline::from_text("test.yaml", text, &crate::types::registry(), &grants) {
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

#[test]
fn the_description_is_what_the_page_reads() {
    let pipeline = compile(
        "{version: tidegate/v1, name: d, description: Louder., \
         parameters: {db: {type: number, default: 3, min: 0, max: 9, description: Gain.}}, \
         inputs: [{name: mic, kind: audio}], \
         outputs: [{name: speaker, kind: audio, for: mic}], \
         nodes: [{id: s, type: audio.slow}, {id: g, type: audio.gain, params: {db: '${param:db}'}}], \
         edges: [{from: mic, to: s, queue: {age: 2s, when_full: drop_newest}}, s -> g -> speaker], \
         interrupt: {on: g.out, flush: [s]}}",
    );
    let format = "pcm_f32/48000/1";
    let port = |name: &str, format: &str| json!({"name": name, "kind": "audio", "format": format});
    let hop = |id: &str, kind: &str, placement: &str, inserted: bool, input: &str, output: &str| {
        json!({"id": id, "type": kind, "placement": placement, "inserted": inserted,
               "inputs": [port("in", input)], "outputs": [port("out", output)]})
    };
    let edge = |from: [&str; 2], to: [&str; 2], queue: serde_json::Value| {
        json!({"from": {"node": from[0], "port": from[1]},
               "to": {"node": to[0], "port": to[1]}, "queue": queue})
    };
    let none = json!(null);
    let shed =
        json!({"frames": 64, "bytes": 4_194_304, "age_ms": 2_000, "when_full": "drop_newest"});
    let block = json!({"frames": 64, "bytes": 4_194_304, "age_ms": null, "when_full": "block"});
    assert_eq!(
        serde_json::to_value(pipeline.describe()).unwrap(),
        json!({
            "name": "d",
            "description": "Louder.",
            "digest": pipeline.digest(),
            "parameters": {"db": {"type": "number", "default": 3, "description": "Gain.",
                                  "min": 0.0, "max": 9.0}},
            "inputs": [port("mic", format)],
            "outputs": [{"name": "speaker", "kind": "audio", "format": format, "for": "mic"}],
            "hops": [
                hop("s", "audio.slow", "offload", false, format, format),
                hop("g", "audio.gain", "in_place", false, format, format),
                hop("mic:dejitter", "audio.dejitter", "in_place", true, "opus/48000/2 packets", format),
                hop("speaker:encode", "audio.encode", "in_place", true, format, "opus/48000/1"),
            ],
            "edges": [
                edge(["mic", ""], ["mic:dejitter", "in"], none.clone()),
                edge(["speaker:encode", "out"], ["speaker", ""], block),
                edge(["mic:dejitter", "out"], ["s", "in"], shed),
                edge(["s", "out"], ["g", "in"], none.clone()),
                edge(["g", "out"], ["speaker:encode", "in"], none),
            ],
            "interrupt": {"on": "g.out", "flush": ["s"]},
        })
    );
}

#[test]
fn edges_into_one_port_are_brought_to_one_format() {
    let pipeline = compile(
        "{version: tidegate/v1, name: c, inputs: [{name: a, kind: audio, format: pcm_f32/16000/1}, \
         {name: b, kind: audio, format: pcm_f32/48000/2}, {name: c, kind: audio, format: pcm_f32/8000/1}], \
         outputs: [{name: x, kind: audio, for: a}, {name: y, kind: audio, for: c}], \
         nodes: [{id: m, type: audio.mix}], edges: [a -> m, b -> m, c -> m, m -> x, m -> y]}",
    );
    let plan = pipeline.bind(&Binding::default()).unwrap();
    assert_eq!(
        hops(&plan),
        [
            "m pcm_f32/16000/1 -> pcm_f32/16000/1",
            "m.in:channels pcm_f32/48000/2 -> pcm_f32/48000/1",
            "m.in:resample pcm_f32/48000/1 -> pcm_f32/16000/1",
            "m.in:resample-2 pcm_f32/8000/1 -> pcm_f32/16000/1",
        ]
    );
    let seats: Vec<_> = plan.outputs.iter().map(|output| output.seat).collect();
    assert_eq!(seats, [Some(0), Some(2)]);
}

#[test]
fn what_a_worker_says_of_its_ports_is_used_and_held_against_what_is_declared() {
    let text = |ports: &str| {
        format!(
            "{{version: tidegate/v1, name: r, inputs: [{{name: mic, kind: audio}}], \
             outputs: [{{name: words, kind: text}}], \
             nodes: [{{id: r, type: remote, params: {{endpoints: ['http://w:1'], pipeline: p{ports}}}}}], \
             edges: [{{from: mic, to: r, queue: {{when_full: drop_oldest}}}}, r -> words]}}"
        )
    };
    let speech = AudioFormat::pcm_s16(16_000, 1);
    let worker = Ports {
        inputs: vec![Port::input("audio", Accepts::exactly(speech), "")],
        outputs: vec![Port::output("text", Kind::Text, "")],
    };
    let binding = Binding {
        remote_ports: [("r".to_owned(), worker)].into(),
        ..live(&[OPUS_PACKETS])
    };
    let plan = compile(&text("")).bind(&binding).unwrap();
    assert_eq!(hops(&plan), ["r pcm_s16/16000/1 -> text"]);
    assert_eq!(plan.hops[0].inputs[0].name, "audio");

    let declared = ", outputs: [{name: words, kind: text}]";
    let refused = compile(&text(declared)).bind(&binding).unwrap_err();
    assert_eq!(refused.code, Code::Incompatible);
    assert!(refused.message.contains("'words'"), "{refused}");
}

#[test]
fn sound_comes_from_a_worker_in_the_format_that_it_says_and_by_webrtc_as_opus() {
    let echo = |transport: &str| {
        compile(&format!(
            "{{version: tidegate/v1, name: r, inputs: [{{name: mic, kind: audio}}], \
             outputs: [{{name: speaker, kind: audio}}], \
             nodes: [{{id: r, type: remote, params: {{endpoints: ['http://w:1'], pipeline: p{transport}}}}}, \
             {{id: g, type: audio.gain}}], \
             edges: [{{from: mic, to: r, queue: {{when_full: drop_oldest}}}}, r -> g -> speaker]}}"
        ))
    };
    let (hears, says) = (
        AudioFormat::pcm_s16(16_000, 1),
        AudioFormat::pcm_s16(22_050, 1),
    );
    let worker = Ports {
        inputs: vec![Port::input("in", Accepts::exactly(hears), "")],
        outputs: vec![Port::input("out", Accepts::exactly(says), "")],
    };
    let binding = Binding {
        remote_ports: [("r".to_owned(), worker)].into(),
        ..live(&[StreamFormat::audio(AudioFormat::pcm_f32(48_000, 1))])
    };
    let plan = echo("").bind(&binding).unwrap();
    assert_eq!(
        hops(&plan),
        [
            "r pcm_s16/16000/1 -> pcm_s16/22050/1",
            "g pcm_f32/22050/1 -> pcm_f32/22050/1",
            "g.in:pcm pcm_s16/22050/1 -> pcm_f32/22050/1",
        ]
    );
    let plan = echo(", transport: webrtc").bind(&binding).unwrap();
    assert!(hops(&plan)[0].contains("opus"), "{:?}", hops(&plan));
}

#[test]
fn a_remote_node_gives_audio_as_the_client_sends_it_unless_something_else_is_declared() {
    let echo = |outputs: &str| {
        compile(&format!(
            "{{version: tidegate/v1, name: r, inputs: [{{name: mic, kind: audio}}], \
             outputs: [{{name: speaker, kind: audio}}], \
             nodes: [{{id: r, type: remote, params: {{endpoints: ['http://w:1'], pipeline: p{outputs}}}}}], \
             edges: [{{from: mic, to: r, queue: {{when_full: drop_oldest}}}}, r -> speaker]}}"
        ))
    };
    let pcm = StreamFormat::audio(AudioFormat::pcm_s16(16_000, 2));
    let plan = echo("").bind(&live(&[pcm])).unwrap();
    assert_eq!(hops(&plan), ["r pcm_s16/16000/2 -> pcm_s16/16000/2"]);
    let plan = echo("").bind(&live(&[OPUS_PACKETS])).unwrap();
    assert_eq!(plan.outputs[0].format.to_string(), "pcm_f32/48000/1");
    let phone = StreamFormat::Audio {
        format: AudioFormat {
            codec: Codec::Pcmu,
            sample_rate: 8_000,
            channels: 1,
        },
        packets: true,
    };
    let plan = echo("").bind(&live(&[phone])).unwrap();
    assert_eq!(plan.outputs[0].format.to_string(), "pcm_f32/8000/1");
    let declared = ", outputs: [{name: speaker, kind: audio, format: pcm_f32/24000/1}]";
    let plan = echo(declared).bind(&live(&[pcm])).unwrap();
    assert_eq!(plan.outputs[0].format.to_string(), "pcm_f32/24000/1");
}

#[test]
fn a_variable_may_have_a_default_which_holds_where_it_is_not_set() {
    let text = "version: tidegate/v1\nname: far\ninputs: [{name: in, kind: text}]\n\
        outputs: [{name: out, kind: text}]\nnodes:\n\
        - {id: r, type: remote, params: {endpoints: [\"${env:WORKER:-http://w:1}\"], pipeline: p}}\n\
        edges: [{from: in, to: r, queue: {when_full: drop_oldest}}, r -> out]\n";
    let endpoint = |grants: Grants| {
        let pipeline = Pipeline::from_text("t", text, &crate::types::registry(), &grants)?;
        let plan = pipeline.bind(&live(&[StreamFormat::Text])).unwrap();
        Ok::<_, tidegate_nodes::Diagnostics>(plan.hops[0].params["endpoints"][0].clone())
    };
    assert_eq!(endpoint(Grants::operator([])).unwrap(), "http://w:1");
    let set = Grants::operator([("WORKER".to_owned(), "http://w:2".to_owned())]);
    assert_eq!(endpoint(set).unwrap(), "http://w:2");
    let refused = endpoint(Grants::stranger(["http://w:1".to_owned()])).unwrap_err();
    assert!(refused.to_string().contains("environment"), "{refused}");
}

#[test]
fn secrets_are_in_no_text() {
    let text = INTERPRETER.replace("timeout: 30s", "timeout: \"${env:STT_TOKEN}\"");
    let grants = Grants::operator([("STT_TOKEN".to_owned(), "secret-token".to_owned())]);
    let refused = Pipeline::from_text("t", &text, &crate::types::registry(), &grants).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("'${env:STT_TOKEN}' is not a duration"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("secret-token"), "{refused}");

    let pipeline = compile(INTERPRETER);
    let plan = pipeline.bind(&live(&[OPUS_PACKETS])).unwrap();
    let shown = format!(
        "{pipeline:?} {plan:?} {}",
        serde_json::to_string(&plan).unwrap()
    );
    assert!(!shown.contains("secret-token"), "{shown}");
}

#[test]
fn yaml_and_json_of_the_same_content_have_the_same_digest() {
    let yaml = compile(
        "version: tidegate/v1\nname: e\ninputs: [{name: t, kind: text}]\noutputs: [{kind: text, name: u}]\nedges: [t -> u]\n",
    );
    let json = compile(
        r#"{"name": "e", "version": "tidegate/v1", "edges": ["t -> u"], "inputs": [{"kind": "text", "name": "t"}], "outputs": [{"name": "u", "kind": "text"}]}"#,
    );
    assert_eq!(yaml.digest(), json.digest());
    assert_eq!(yaml.digest().len(), 64);
}
