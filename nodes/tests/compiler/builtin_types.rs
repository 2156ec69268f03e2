//! The compiler and the node types that come with Tidegate: what the one relies on, the others do.

use tidegate_media::{AudioFormat, Codec};
use tidegate_nodes::compile::conversions;
use tidegate_nodes::{Accepts, Binding, Grants, Pipeline, Registry, StreamFormat};

/// Formats that clients send and ask for.
fn formats() -> Vec<AudioFormat> {
    let mut formats = Vec::new();
    for codec in Codec::ALL {
        for sample_rate in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
            for channels in [1, 2] {
                let exists = match codec {
                    Codec::Opus => sample_rate == 48_000,
                    Codec::Pcmu | Codec::Pcma => sample_rate == 8_000 && channels == 1,
                    Codec::PcmS16 | Codec::PcmF32 => true,
                };
                if exists {
                    formats.push(AudioFormat {
                        codec,
                        sample_rate,
                        channels,
                    });
                }
            }
        }
    }
    formats
}

#[test]
fn every_conversion_is_done_by_its_node_type_as_expected() {
    let registry = Registry::builtin();
    for from in formats() {
        for packets in [false, true] {
            if packets && from.codec.is_pcm() {
                continue; // WebRTC carries no plain samples.
            }
            let from = StreamFormat::Audio {
                format: from,
                packets,
            };
            for to in formats() {
                let chain = conversions(from, &Accepts::exactly(to)).expect("a chain");
                let mut format = from;
                for step in chain {
                    let place = format!("{} of {from} -> {to}", step.name);
                    let node_type = registry.get(step.node_type).expect(&place);
                    let ports = node_type.ports(&step.params).expect(&place);
                    assert!(ports.inputs[0].accepts.admits(&format), "{place}: {format}");
                    let outputs = node_type.outputs(&step.params, &[Some(format)]);
                    assert_eq!(outputs.expect(&place), [step.output], "{place}");
                    format = step.output;
                }
            }
        }
    }
}

#[test]
fn the_shipped_pipelines_compile_without_warnings_and_bind() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let grants = Grants::operator([]);
        let pipeline = Pipeline::from_text(name, &text, &Registry::builtin(), &grants);
        let pipeline = pipeline.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert_eq!(pipeline.warnings().to_string(), "");
        if let Err(error) = pipeline.bind(&Binding::default()) {
            panic!("{name}: {error}");
        }
        count += 1;
    }
    assert!(count > 0, "no pipelines");
}

fn found(nodes: &str) -> String {
    let text = format!(
        "version: tidegate/v1\nname: p\nparameters: {{gain: {{type: number}}}}\ninputs: [{{name: i, kind: audio}}]\n\
         outputs: [{{name: o, kind: audio}}]\nnodes:\n{nodes}edges: [i -> g -> h -> o]\n"
    );
    let registry = Registry::builtin();
    let compiled = Pipeline::from_text("p", &text, &registry, &Grants::offline());
    compiled.expect_err("errors").to_string()
}

#[test]
fn a_reference_that_is_not_there_or_has_no_value_yet_hides_no_unknown_key() {
    let found = found(
        "  - {id: g, type: audio.gain, params: {gain_db: '${param:gian}', foo: 1}}\n\
         \x20 - {id: h, type: audio.gain, params: {gain_db: '${param:gain}', bar: 1}}\n",
    );
    for said in [
        "no parameter 'gian'",
        "no parameter 'foo'",
        "no parameter 'bar'",
    ] {
        assert!(found.contains(said), "{said} in:\n{found}");
    }
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn the_word_null_is_said_to_need_its_quotes() {
    let found = found(
        "  - {id: g, type: json.pick, params: {pointer: /a, missing: null}}\n\
         \x20 - {id: h, type: audio.gain, params: {gain_db: 1}}\n",
    );
    assert!(found.contains("write \"null\" in quotes"), "{found}");
}
