//! What the protocol says is what comes out, and what it does not say is refused.

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tidegate_media::{Dtype, Frame, Kind, MediaTime, Payload, Tensor};

use super::*;
use crate::inference as pb;

fn numbers_of(values: &[f32]) -> Data {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = [values.len() as u64];
    Data::Numbers(Tensor::new(Dtype::F32, &shape, data.into()).expect("fits"))
}

fn named(name: &str, data: Data) -> Named {
    Named {
        name: name.to_owned(),
        data,
        parameters: Map::from_iter([("rate".to_owned(), json!(8000))]),
    }
}

fn request() -> InferRequest {
    let words = Data::strings(vec![Bytes::from("one"), Bytes::new(), Bytes::from("drei")]);
    InferRequest {
        model: "m".to_owned(),
        version: "1".to_owned(),
        id: "7".to_owned(),
        parameters: Map::from_iter([
            ("flag".to_owned(), json!(true)),
            ("count".to_owned(), json!(-3)),
            ("large".to_owned(), json!(u64::MAX)),
            ("share".to_owned(), json!(0.5)),
            ("text".to_owned(), json!("x")),
        ]),
        inputs: vec![
            named("numbers", numbers_of(&[1.0, -2.5])),
            named("words", words),
        ],
        outputs: vec![Wanted {
            name: "out".to_owned(),
            binary: None,
        }],
    }
}

fn response() -> InferResponse {
    let request = request();
    InferResponse {
        model: request.model,
        version: request.version,
        id: request.id,
        parameters: request.parameters,
        outputs: request.inputs,
    }
}

#[test]
fn what_is_written_over_grpc_is_read_again() {
    assert_eq!(
        grpc::decode_request(grpc::encode_request(request())),
        Ok(request())
    );
    assert_eq!(
        grpc::decode_response(grpc::encode_response(response())),
        Ok(response())
    );
    let bytes = grpc::encode_request(request()).encode_to_vec();
    assert_eq!(grpc::decode_request_bytes(bytes.into()), Ok(request()));
}

#[test]
fn a_response_in_pieces_is_what_the_library_writes_and_shares_what_is_raw() {
    for (streamed, outputs) in [(false, 2), (true, 2), (false, 0), (true, 0)] {
        let mut response = response();
        response.outputs.truncate(outputs);
        let raw = match response.outputs.first().map(|named| &named.data) {
            Some(Data::Numbers(tensor)) => Some(tensor.data().as_ptr()),
            _ => None,
        };
        let pieces = grpc::response_pieces(response.clone(), streamed);
        if let Some(raw) = raw {
            assert!(pieces.iter().any(|piece| piece.as_ptr() == raw));
        }
        let bytes = Bytes::from(pieces.concat());
        let message = if streamed {
            let message = pb::ModelStreamInferResponse::decode(bytes).expect("a message");
            message.infer_response.expect("a response")
        } else {
            pb::ModelInferResponse::decode(bytes).expect("a message")
        };
        assert_eq!(grpc::decode_response(message), Ok(response));
    }
}

/// One tensor with typed contents.
fn typed(datatype: &str, shape: &[i64], contents: pb::InferTensorContents) -> Result<Data> {
    let input = pb::model_infer_request::InferInputTensor {
        name: "in".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        contents: Some(contents),
        ..Default::default()
    };
    let request = pb::ModelInferRequest {
        inputs: vec![input],
        ..Default::default()
    };
    let mut request = grpc::decode_request(request)?;
    Ok(request.inputs.remove(0).data)
}

#[test]
fn typed_contents_are_the_same_as_raw_ones() {
    let contents = pb::InferTensorContents {
        bool_contents: vec![true, false],
        int_contents: vec![-1, 2],
        int64_contents: vec![-1, 2],
        uint_contents: vec![1, 2],
        uint64_contents: vec![1, 2],
        fp32_contents: vec![-1.5, 2.0],
        fp64_contents: vec![-1.5, 2.0],
        bytes_contents: vec![Bytes::from("a"), Bytes::from("b")],
    };
    let expected: [(&str, Vec<u8>); 11] = [
        ("BOOL", vec![1, 0]),
        ("INT8", vec![255, 2]),
        (
            "INT16",
            [(-1_i16).to_le_bytes(), 2_i16.to_le_bytes()].concat(),
        ),
        (
            "INT32",
            [(-1_i32).to_le_bytes(), 2_i32.to_le_bytes()].concat(),
        ),
        (
            "INT64",
            [(-1_i64).to_le_bytes(), 2_i64.to_le_bytes()].concat(),
        ),
        ("UINT8", vec![1, 2]),
        ("UINT16", vec![1, 0, 2, 0]),
        ("UINT32", vec![1, 0, 0, 0, 2, 0, 0, 0]),
        (
            "UINT64",
            [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat(),
        ),
        (
            "FP32",
            [(-1.5_f32).to_le_bytes(), 2_f32.to_le_bytes()].concat(),
        ),
        (
            "FP64",
            [(-1.5_f64).to_le_bytes(), 2_f64.to_le_bytes()].concat(),
        ),
    ];
    for (datatype, bytes) in expected {
        let data = typed(datatype, &[1, 2], contents.clone()).expect(datatype);
        assert_eq!(data.datatype().as_str(), datatype);
        assert_eq!(data.shape(), [1, 2]);
        assert_eq!(data.into_raw(), bytes, "{datatype}");
    }
    let strings = typed("BYTES", &[2], contents.clone()).expect("strings");
    assert_eq!(strings.into_raw(), &b"\x01\0\0\0a\x01\0\0\0b"[..]);
    for datatype in ["FP16", "BF16"] {
        let error = typed(datatype, &[2], contents.clone()).expect_err("no typed contents");
        assert!(error.to_string().contains("raw_input_contents"), "{error}");
    }
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug>, says: &str) {
    let error = result.expect_err("it cannot be").to_string();
    assert!(error.contains(says), "'{says}' is not in '{error}'");
}

#[test]
fn what_cannot_be_is_refused_with_the_tensors_name() {
    let fp32 = |values: &[f32]| pb::InferTensorContents {
        fp32_contents: values.to_vec(),
        ..Default::default()
    };
    refused(
        typed("FP32", &[3], fp32(&[1.0])),
        "needs 12 bytes but has 4",
    );
    refused(typed("FP32", &[-1], fp32(&[1.0])), "negative axis");
    refused(typed("FLOAT", &[1], fp32(&[1.0])), "'FLOAT' is unknown");
    refused(typed("FP32", &[1; 9], fp32(&[1.0])), "9 axes");
    refused(
        typed("FP32", &[i64::MAX, i64::MAX], fp32(&[1.0])),
        "overflows",
    );
    let wide = pb::InferTensorContents {
        int_contents: vec![300],
        ..Default::default()
    };
    refused(typed("INT8", &[1], wide), "a value that INT8 does not hold");
    let mut both = grpc::encode_request(request());
    both.inputs[0].contents = Some(fp32(&[1.0, 2.0]));
    refused(grpc::decode_request(both), "beside raw_input_contents");
    let mut fewer = grpc::encode_request(request());
    fewer.raw_input_contents.pop();
    refused(grpc::decode_request(fewer), "1 entries for 2 inputs");
    let raw = |raw: &'static [u8]| Data::raw("in", Datatype::Bytes, &[1], Bytes::from_static(raw));
    refused(raw(b"\x01\0\0"), "within a string");
    refused(raw(b"\x02\0\0\0a"), "within a string");
    refused(raw(b"\x01\0\0\0a\x01\0\0\0b"), "does not hold 2 strings");
    let many = Bytes::from(vec![0; (strings::STRINGS + 1) * 4]);
    refused(
        Data::raw("in", Datatype::Bytes, &[1], many),
        "at most 65536",
    );
}

#[test]
fn json_takes_lists_nested_lists_and_bytes_behind_it() {
    let head = json!({
        "id": "7",
        "parameters": {"binary_data_output": true, "word": "x"},
        "inputs": [
            {"name": "flat", "shape": [2, 2], "datatype": "INT16", "data": [1, -2, 3, 4]},
            {"name": "nested", "shape": [2, 1], "datatype": "BYTES", "data": [["a"], ["b"]]},
            {"name": "raw", "shape": [2], "datatype": "FP16", "parameters": {"binary_data_size": 4}},
        ],
    })
    .to_string();
    let body = Bytes::from([head.as_bytes(), &[1, 2, 3, 4]].concat());
    let request = json::decode_request("m", "", &body, Some(head.len()));
    let mut request = request.expect("a request");
    assert!(request.take_binary() && !request.take_binary());
    assert_eq!(Value::from(request.parameters), json!({"word": "x"}));
    let raw: Vec<_> = request
        .inputs
        .iter()
        .map(|i| i.data.clone().into_raw())
        .collect();
    assert_eq!(raw[0], &[1, 0, 254, 255, 3, 0, 4, 0][..]);
    assert_eq!(raw[1], &b"\x01\0\0\0a\x01\0\0\0b"[..]);
    assert_eq!(
        raw[2].as_ptr(),
        body[head.len()..].as_ptr(),
        "it is not copied"
    );
    let wrong =
        |text: &str| json::decode_request("m", "", &Bytes::copy_from_slice(text.as_bytes()), None);
    refused(wrong("["), "is no request");
    refused(
        wrong(r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "BF16", "data": [1]}]}"#),
        "JSON does not have",
    );
    refused(
        wrong(r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "UINT8", "data": [-1]}]}"#),
        "no UINT8",
    );
    refused(
        wrong(r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "UINT8"}]}"#),
        "exactly one",
    );
    refused(
        wrong(
            r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "UINT8", "parameters": {"binary_data_size": 1}}]}"#,
        ),
        "no count",
    );
    refused(
        json::decode_request("m", "", &body, Some(body.len() + 1)),
        "for a body of",
    );
    let longer = Bytes::from([&body[..], &[0]].concat());
    refused(
        json::decode_request("m", "", &longer, Some(head.len())),
        "1 bytes behind",
    );
}

#[test]
fn a_response_is_json_or_bytes_as_it_is_asked_for() {
    let (text, pieces) = json::encode_response(response(), |name| name == "numbers").expect("fits");
    let text: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        text["outputs"][0]["parameters"],
        json!({"rate": 8000, "binary_data_size": 8})
    );
    assert_eq!(text["outputs"][0]["data"], Value::Null);
    assert_eq!(text["outputs"][1]["data"], json!(["one", "", "drei"]));
    assert_eq!(pieces.len(), 1);
    let half = Tensor::new(Dtype::F16, &[1], Bytes::from_static(&[0, 0])).expect("fits");
    let half = InferResponse {
        outputs: vec![named("half", Data::Numbers(half))],
        ..InferResponse::default()
    };
    refused(json::encode_response(half, |_| false), "binary_data");
    let bytes = InferResponse {
        outputs: vec![named(
            "bytes",
            Data::strings(vec![Bytes::from_static(b"\xff")]),
        )],
        ..InferResponse::default()
    };
    refused(json::encode_response(bytes, |_| false), "no text");
}

#[test]
fn frames_of_each_kind_are_tensors_and_back() {
    let cases = [
        (Kind::Tensor, numbers_of(&[1.0, 2.0])),
        (Kind::Audio, numbers_of(&[0.5, -0.5, 0.25])),
        (
            Kind::Text,
            Data::strings(vec![Bytes::from("a"), Bytes::from("b")]),
        ),
        (Kind::Json, Data::strings(vec![Bytes::from("{}")])),
        (
            Kind::Binary,
            Data::strings(vec![Bytes::from_static(b"\xff")]),
        ),
    ];
    for (kind, data) in cases {
        let payloads = frames::payloads("in", kind, data.clone(), 16_000).expect("payloads");
        assert!(payloads.iter().all(|payload| payload.kind() == kind));
        let all = payloads.into_iter();
        let all = all
            .map(|payload| Frame::new(MediaTime::ZERO, payload))
            .collect();
        assert_eq!(frames::gathered(kind, all), Ok(Some(data)), "{kind}");
    }
    let wrong = |kind, data| frames::payloads("in", kind, data, 16_000);
    refused(wrong(Kind::Text, numbers_of(&[1.0])), "send BYTES");
    refused(
        wrong(Kind::Tensor, Data::strings(Vec::new())),
        "any datatype but BYTES",
    );
    refused(wrong(Kind::Video, numbers_of(&[1.0])), "video");
}

#[test]
fn sound_has_its_channels_last_and_may_have_a_batch_of_one() {
    let sound = |shape: &[u64]| {
        let count = shape.iter().product::<u64>();
        let data = vec![0; usize::try_from(count * 2).expect("small")];
        let tensor = Tensor::new(Dtype::I16, shape, data.into()).expect("fits");
        frames::payloads("in", Kind::Audio, Data::Numbers(tensor), 8_000)
    };
    for (shape, samples, channels) in [
        (&[6][..], 6, 1),
        (&[1, 6], 6, 1),
        (&[3, 2], 3, 2),
        (&[1, 3, 2], 3, 2),
    ] {
        match &sound(shape).expect("sound")[..] {
            [Payload::Audio(audio)] => {
                assert_eq!((audio.samples, audio.format.channels), (samples, channels));
            }
            other => panic!("{shape:?}: {other:?}"),
        }
    }
    refused(sound(&[2, 2, 2]), "[samples, channels]");
    refused(sound(&[2, 65]), "channels");
}
