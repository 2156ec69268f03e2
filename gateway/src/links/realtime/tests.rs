//! The codec by itself: what a client says and what the session says, in the words of either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_media::Payload;
use tidegate_nodes::graph::Mode;

use super::agent::{ANSWER, HEARD, MIC, agent, opening, sound, speech, told};
use super::ports::Wire;
use super::*;

fn opened(ports: Ports, tracks: bool) -> Realtime {
    let opening = opening(&ports);
    let mut codec = Realtime::new(ports, Mode::Live, tracks);
    codec.tell(opening);
    assert_eq!(said(&mut codec)[0]["type"], "session.created");
    codec
}

/// What the client was told since it was last asked.
fn said(codec: &mut Realtime) -> Vec<Value> {
    std::iter::from_fn(|| codec.next_said())
        .map(|said| serde_json::from_str(&said.text).expect("JSON"))
        .collect()
}

fn types(codec: &mut Realtime) -> Vec<String> {
    let events = said(codec).into_iter();
    let kinds = events.map(|event| event["type"].as_str().unwrap_or_default().to_owned());
    kinds.collect()
}

fn events(codec: &mut Realtime) -> Vec<LinkEvent> {
    std::iter::from_fn(|| codec.next_event()).collect()
}

fn send(codec: &mut Realtime, event: &Value) {
    codec.handle(&event.to_string());
}

#[test]
fn sound_is_cut_into_frames_of_a_tenth_of_a_second_and_a_commit_closes_the_utterance() {
    let ports = Ports {
        events: None,
        ..agent()
    };
    let mut codec = opened(ports, false);
    let quarter = STANDARD.encode([0_u8; 12_000]);
    send(
        &mut codec,
        &json!({"type": "input_audio_buffer.append", "audio": quarter}),
    );
    send(&mut codec, &json!({"type": "input_audio_buffer.commit"}));
    let frames: Vec<_> = events(&mut codec)
        .into_iter()
        .map(|event| match event {
            LinkEvent::Frame { input, frame } => {
                assert_eq!(input, MIC);
                let meta = frame.meta;
                (
                    meta.seq,
                    meta.media_time.as_micros(),
                    meta.utterance,
                    meta.is_final,
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (1, 0, 1, false),
        (2, 100_000, 1, false),
        (3, 200_000, 1, false),
        (4, 250_000, 1, true),
    ];
    assert_eq!(frames, expected);
    let told = [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ];
    assert_eq!(types(&mut codec), told);
    send(
        &mut codec,
        &json!({"type": "input_audio_buffer.commit", "event_id": "again"}),
    );
    let error = &said(&mut codec)[0]["error"];
    assert_eq!(error["code"], "input_audio_buffer_commit_empty");
    assert_eq!(error["event_id"], "again");
}

#[test]
fn a_clear_of_what_was_heard_is_answered_and_the_turn_goes_on() {
    let ports = Ports {
        events: None,
        ..agent()
    };
    let mut codec = opened(ports, false);
    let clear = json!({"type": "input_audio_buffer.clear"});
    send(&mut codec, &clear);
    let told = said(&mut codec);
    assert_eq!(told[0]["type"], "input_audio_buffer.cleared");
    assert!(told[0].get("ignored").is_none(), "{told:?}");
    let tenth = STANDARD.encode([0_u8; 4_800]);
    let append = json!({"type": "input_audio_buffer.append", "audio": tenth});
    send(&mut codec, &append);
    send(&mut codec, &clear);
    let told = said(&mut codec);
    assert_eq!(told[0]["type"], "input_audio_buffer.cleared");
    assert_eq!(told[0]["ignored"][0]["param"], "input_audio_buffer");
    send(&mut codec, &json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(types(&mut codec)[0], "input_audio_buffer.committed");
}

#[test]
fn a_commit_after_turns_that_the_pipeline_found_is_an_item_of_its_own() {
    let ports = Ports {
        events: None,
        ..agent()
    };
    let mut codec = opened(ports, false);
    let half = STANDARD.encode([0_u8; 24_000]);
    let append = json!({"type": "input_audio_buffer.append", "audio": half});
    let commit = json!({"type": "input_audio_buffer.commit"});
    let mut completed = Vec::new();
    for utterance in 1..=2 {
        send(&mut codec, &append);
        let text = Payload::Text("Hello".into());
        told(&mut codec, HEARD, utterance, true, text);
        let event = said(&mut codec).pop().expect("it is transcribed");
        assert_eq!(event["usage"]["seconds"], 0.5);
        completed.push(event["item_id"].clone());
    }
    send(&mut codec, &append);
    send(&mut codec, &commit);
    let committed = said(&mut codec)[0].clone();
    assert_eq!(committed["type"], "input_audio_buffer.committed");
    assert!(!completed.contains(&committed["item_id"]), "{committed}");
    // What is understood of it is told of this item.
    told(&mut codec, HEARD, 3, true, Payload::Text("Bye".into()));
    let event = said(&mut codec).pop().expect("it is transcribed");
    assert_eq!(event["item_id"], committed["item_id"]);
    assert_eq!(event["usage"]["seconds"], 0.5);
    send(&mut codec, &commit);
    let error = &said(&mut codec)[0]["error"];
    assert_eq!(error["code"], "input_audio_buffer_commit_empty");
}

#[test]
fn the_language_of_a_transcription_is_the_one_that_the_session_was_opened_with() {
    let mut codec = opened(agent().in_language(Some("en")), false);
    for (language, refused) in [("en", false), ("de", true)] {
        let input = json!({"transcription": {"language": language}});
        let session = json!({"type": "realtime", "audio": {"input": input}});
        let update = json!({"type": "session.update", "session": session});
        send(&mut codec, &update);
        let told = said(&mut codec);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["ignored"].is_array(), refused, "{told:?}");
    }
}

#[test]
fn a_turn_is_told_as_it_is_heard_and_answered() {
    let mut codec = opened(agent(), false);
    speech(&mut codec, "speech_start", 1, 300);
    speech(&mut codec, "speech_stop", 1, 1_800);
    told(&mut codec, HEARD, 1, true, Payload::Text("Hello".into()));
    told(&mut codec, ANSWER, 1, false, Payload::Text("Good ".into()));
    sound(&mut codec, 1, false);
    told(&mut codec, ANSWER, 1, true, Payload::Text("morning".into()));
    sound(&mut codec, 1, true);
    let expected = "input_audio_buffer.speech_started input_audio_buffer.speech_stopped \
        input_audio_buffer.committed conversation.item.added conversation.item.done \
        conversation.item.input_audio_transcription.delta \
        conversation.item.input_audio_transcription.completed response.created \
        response.output_item.added conversation.item.added response.content_part.added \
        response.output_audio_transcript.delta response.output_audio.delta \
        response.output_audio_transcript.delta response.output_audio.delta response.output_audio.done \
        response.output_audio_transcript.done response.content_part.done response.output_item.done \
        conversation.item.done response.done";
    let told = said(&mut codec);
    let kinds: Vec<_> = told.iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(
        kinds.join(" "),
        expected.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    assert_eq!(told[6]["usage"]["seconds"], 1.5);
    assert_eq!(told[16]["transcript"], "Good morning");
}

#[test]
fn what_still_comes_of_an_answer_that_was_interrupted_is_not_told() {
    let mut codec = opened(agent(), false);
    sound(&mut codec, 1, false);
    said(&mut codec);
    speech(&mut codec, "speech_start", 2, 900);
    let done = said(&mut codec).pop().expect("response.done");
    assert_eq!(
        done["response"]["status_details"]["reason"],
        "turn_detected"
    );
    assert!(events(&mut codec).is_empty(), "the manifest interrupts");
    sound(&mut codec, 1, true);
    assert!(said(&mut codec).is_empty());
    sound(&mut codec, 2, true);
    assert!(types(&mut codec).contains(&"response.done".to_owned()));
}

#[test]
fn a_client_cancels_what_is_said_and_what_is_only_thought_of() {
    let mut codec = opened(agent(), false);
    send(&mut codec, &json!({"type": "response.cancel"}));
    assert_eq!(
        said(&mut codec)[0]["error"]["code"],
        "response_cancel_not_active"
    );
    for begun in [true, false] {
        if begun {
            sound(&mut codec, 1, false);
        } else {
            speech(&mut codec, "speech_start", 2, 0);
            speech(&mut codec, "speech_stop", 2, 100);
        }
        said(&mut codec);
        send(&mut codec, &json!({"type": "response.cancel"}));
        assert!(matches!(events(&mut codec)[..], [LinkEvent::Interrupt]));
        let done = said(&mut codec).pop().expect("response.done");
        assert_eq!(done["type"], "response.done");
        assert_eq!(
            done["response"]["status_details"]["reason"],
            "client_cancelled"
        );
    }
}

#[test]
fn a_turn_that_the_client_ends_before_its_speech_is_told_is_one_item() {
    let mut codec = opened(agent(), false);
    let second = STANDARD.encode([0_u8; 48_000]);
    send(
        &mut codec,
        &json!({"type": "input_audio_buffer.append", "audio": second}),
    );
    send(&mut codec, &json!({"type": "input_audio_buffer.commit"}));
    let committed = said(&mut codec)[0]["item_id"].clone();
    speech(&mut codec, "speech_start", 1, 200);
    speech(&mut codec, "speech_stop", 1, 900);
    let told = said(&mut codec);
    assert_eq!(told.len(), 2, "it is committed already: {told:?}");
    assert!(told.iter().all(|event| event["item_id"] == committed));
    speech(&mut codec, "speech_start", 2, 1_200);
    assert_ne!(said(&mut codec)[0]["item_id"], committed);
}

#[test]
fn of_an_update_all_holds_but_what_the_pipeline_cannot_honour() {
    let mut codec = opened(agent(), false);
    let g711 = json!({"type": "audio/pcma"});
    let session = json!({
        "type": "realtime", "instructions": "Be brief.", "tools": [], "tool_choice": "auto",
        "audio": {
            "input": {"format": g711, "turn_detection": {"type": "server_vad", "threshold": 0.7}},
            "output": {"voice": "marin"},
        },
    });
    send(
        &mut codec,
        &json!({"type": "session.update", "event_id": "u", "session": session}),
    );
    let told = said(&mut codec);
    // Nothing that a client would take for a failure.
    let [updated] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(updated["type"], "session.updated");
    let ignored = updated["ignored"].as_array().expect("a list").iter();
    let params: Vec<_> = ignored
        .filter_map(|field| field["param"].as_str())
        .collect();
    let expected = [
        "session.instructions",
        "session.audio.input.turn_detection.threshold",
        "session.audio.output.voice",
    ];
    assert_eq!(params, expected);
    assert_eq!(updated["session"]["audio"]["input"]["format"], g711);
    assert!(matches!(
        events(&mut codec)[..],
        [LinkEvent::FeedsOtherwise { input: MIC, format }] if format == Wire::Pcma.stream()
    ));
}

#[test]
fn turns_that_the_pipeline_does_not_find_are_an_error_for_nobody_would_be_answered() {
    let ports = Ports {
        events: None,
        ..agent()
    };
    let mut codec = opened(ports, false);
    let input = json!({"turn_detection": {"type": "server_vad"}});
    let session = json!({"type": "realtime", "audio": {"input": input}});
    send(
        &mut codec,
        &json!({"type": "session.update", "event_id": "u", "session": session}),
    );
    let told = said(&mut codec);
    let error = &told[0]["error"];
    assert_eq!(error["param"], "session.audio.input.turn_detection");
    assert_eq!(error["event_id"], "u");
    assert_eq!(told[1]["type"], "session.updated");
    assert!(told[1].get("ignored").is_none(), "{told:?}");
}

#[test]
fn a_message_that_the_pipeline_does_not_hear_is_remembered_and_says_so() {
    let mut codec = opened(agent(), false);
    let mut previous = "root".to_owned();
    let asked = [
        ("system", "input_text", "item.role"),
        ("assistant", "output_text", "item.role"),
        ("user", "input_text", "item.content"),
    ];
    for (role, kind, param) in asked {
        let part = json!({"type": kind, "text": "Hello."});
        let item = json!({"type": "message", "role": role, "content": [part]});
        let create =
            json!({"type": "conversation.item.create", "previous_item_id": previous, "item": item});
        send(&mut codec, &create);
        let told = said(&mut codec);
        assert_eq!(told[0]["type"], "conversation.item.added", "{told:?}");
        assert_eq!(told[0]["ignored"][0]["param"], param);
        assert_eq!(
            (&told[0]["item"]["role"], &told[0]["item"]["content"][0]),
            (&json!(role), &part)
        );
        previous = told[0]["item"]["id"].as_str().expect("a name").to_owned();
    }
    send(&mut codec, &json!({"type": "response.create"}));
    let told = said(&mut codec);
    assert_eq!(told[1]["response"]["status"], "failed", "{told:?}");
    assert!(
        events(&mut codec).is_empty(),
        "it was not given to the pipeline"
    );
    // What is heard is not said to be unheard.
    let ports = Ports {
        text_in: Some("typed".to_owned()),
        ..agent()
    };
    let mut codec = opened(ports, false);
    let part = json!({"type": "input_text", "text": "Hello."});
    let item = json!({"type": "message", "role": "user", "content": [part]});
    send(
        &mut codec,
        &json!({"type": "conversation.item.create", "item": item}),
    );
    assert!(said(&mut codec)[0].get("ignored").is_none());
    send(&mut codec, &json!({"type": "response.create"}));
    assert!(matches!(events(&mut codec)[..], [LinkEvent::Frame { .. }]));
}

#[test]
fn a_message_that_is_too_long_is_refused_whether_or_not_the_pipeline_hears_it() {
    let typed = Ports {
        text_in: Some("typed".to_owned()),
        ..agent()
    };
    for (ports, role) in [
        (agent(), "system"),
        (agent(), "assistant"),
        (agent(), "user"),
        (typed, "user"),
    ] {
        let mut codec = opened(ports, false);
        for (bytes, kind) in [
            (words::TEXT_BYTES / 2, "error"),
            (words::TEXT_BYTES / 2 - 1, "conversation.item.added"),
        ] {
            let part = json!({"type": "input_text", "text": "x".repeat(bytes)});
            let item =
                json!({"type": "message", "role": role, "id": "long", "content": [part, part]});
            let create = json!({"type": "conversation.item.create", "item": item});
            send(&mut codec, &create);
            let told = said(&mut codec);
            assert_eq!(told[0]["type"], kind, "{role}");
            if kind == "error" {
                assert_eq!(told[0]["error"]["param"], "item.content");
                assert_eq!(told[0]["error"]["code"], "invalid_value");
            }
        }
    }
}

#[test]
fn a_response_that_nothing_was_said_for_fails_at_once_and_the_next_is_given() {
    let mut codec = opened(agent(), false);
    let response = json!({"instructions": "Greet.", "metadata": {"client": "1"}});
    send(
        &mut codec,
        &json!({"type": "response.create", "response": response}),
    );
    let told = said(&mut codec);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["type"], "response.created");
    assert_eq!(told[0]["response"]["metadata"]["client"], "1");
    assert_eq!(told[0]["ignored"][0]["param"], "response.instructions");
    let done = &told[1]["response"];
    assert_eq!(done["id"], told[0]["response"]["id"]);
    assert_eq!(
        (&done["status"], &done["output"]),
        (&json!("failed"), &json!([]))
    );
    let error = &done["status_details"]["error"];
    assert_eq!(error["code"], "unsupported_by_pipeline");
    send(&mut codec, &json!({"type": "response.cancel"}));
    assert_eq!(types(&mut codec), ["error"]);
    speech(&mut codec, "speech_start", 1, 100);
    speech(&mut codec, "speech_stop", 1, 900);
    sound(&mut codec, 1, true);
    let told = said(&mut codec);
    let of = |kind: &str| told.iter().find(|event| event["type"] == kind);
    let created = of("response.created").expect("begun");
    assert!(created["response"]["metadata"].is_null(), "{created}");
    assert!(created.get("ignored").is_none(), "{created}");
    let done = of("response.done").expect("given");
    assert_eq!(done["response"]["status"], "completed");
}

#[test]
fn a_response_of_more_fields_than_are_told_is_refused() {
    let mut codec = opened(agent(), false);
    for (more, refused) in [(0, false), (1, true)] {
        let fields = (0..saying::NOTES + more).map(|n| (format!("x{n}"), json!(1)));
        let response: Map<String, Value> = fields.collect();
        send(
            &mut codec,
            &json!({"type": "response.create", "response": response}),
        );
        let told = said(&mut codec);
        if refused {
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["error"]["param"], "response");
            let message = told[0]["error"]["message"].as_str().expect("words");
            assert!(message.contains("leave out"), "{message}");
        } else {
            let ignored = told[0]["ignored"].as_array().expect("a list");
            assert_eq!(ignored.len(), saying::NOTES);
        }
    }
}

#[test]
fn an_update_of_more_fields_than_are_told_is_refused_and_changes_nothing() {
    let most = settings::change::NOTES;
    for of in ["transcription", "turn_detection"] {
        for (more, refused) in [(0, false), (1, true)] {
            let mut codec = opened(agent(), false);
            let fields = (0..most + more).map(|n| (format!("x{n}"), json!(1)));
            let mut wanted: Map<String, Value> = fields.collect();
            if of == "turn_detection" {
                wanted.insert("type".to_owned(), json!("server_vad"));
            }
            let input = json!({"format": {"type": "audio/pcma"}, of: wanted});
            let session = json!({"type": "realtime", "audio": {"input": input}});
            let update = json!({"type": "session.update", "session": session});
            send(&mut codec, &update);
            let told = said(&mut codec);
            assert_eq!(told.len(), 1, "{told:?}");
            if refused {
                assert_eq!(told[0]["error"]["param"], "session", "{of}");
            } else {
                let ignored = told[0]["ignored"].as_array().expect("a list");
                assert_eq!(ignored.len(), most, "{of}");
            }
            assert_eq!(events(&mut codec).is_empty(), refused, "{of}");
        }
    }
}

#[test]
fn the_name_of_a_field_is_not_told_at_any_length() {
    let mut codec = opened(agent(), false);
    let wanted = json!({"x".repeat(100_000): 1});
    let input = json!({"transcription": wanted});
    let session = json!({"type": "realtime", "audio": {"input": input}});
    let update = json!({"type": "session.update", "session": session});
    send(&mut codec, &update);
    let told = said(&mut codec);
    let param = told[0]["ignored"][0]["param"].as_str().expect("a name");
    assert!(param.len() <= 128, "{}", param.len());
}

#[test]
fn the_modalities_of_the_beta_are_refused_where_the_client_would_get_something_else() {
    let mut codec = opened(agent(), false);
    let create = |modalities: &Value| {
        let response = json!({"modalities": modalities});
        json!({"type": "response.create", "response": response})
    };
    send(&mut codec, &create(&json!(["text"])));
    let told = said(&mut codec);
    assert_eq!(told.len(), 1, "{told:?}");
    let error = &told[0]["error"];
    assert_eq!(error["param"], "response.modalities");
    let message = error["message"].as_str().expect("words");
    assert!(message.contains("output_modalities"), "{message}");
    for given in [json!(["audio"]), json!(["text", "audio"])] {
        send(&mut codec, &create(&given));
        let told = said(&mut codec);
        assert_eq!(told[0]["type"], "response.created", "{told:?}");
        assert!(told[0].get("ignored").is_none(), "{told:?}");
    }
    // Where the session is of text the beta's both are not what is given, and text alone is.
    let session = json!({"type": "realtime", "output_modalities": ["text"]});
    let update = json!({"type": "session.update", "session": session});
    send(&mut codec, &update);
    assert_eq!(types(&mut codec), ["session.updated"]);
    send(&mut codec, &create(&json!(["text", "audio"])));
    assert_eq!(types(&mut codec), ["error"]);
    send(&mut codec, &create(&json!(["text"])));
    assert_eq!(types(&mut codec)[0], "response.created");
}

#[test]
fn an_update_of_the_beta_shape_changes_nothing() {
    let mut codec = opened(agent(), false);
    let session = json!({
        "type": "realtime", "output_modalities": ["text"], "input_audio_transcription": null,
    });
    send(
        &mut codec,
        &json!({"type": "session.update", "session": session}),
    );
    let told = said(&mut codec);
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0]["error"]["param"],
        "session.input_audio_transcription"
    );
    sound(&mut codec, 1, false);
    assert_eq!(
        said(&mut codec)[0]["response"]["output_modalities"][0],
        "audio"
    );
}

#[test]
fn words_of_the_next_answer_wait_until_this_one_has_been_said() {
    let mut codec = opened(agent(), false);
    sound(&mut codec, 1, false);
    said(&mut codec);
    told(&mut codec, ANSWER, 2, true, Payload::Text("Next".into()));
    assert!(said(&mut codec).is_empty());
    sound(&mut codec, 1, true);
    let kinds = types(&mut codec);
    let done = kinds.iter().position(|kind| kind == "response.done");
    let delta = "response.output_audio_transcript.delta";
    let next = kinds.iter().position(|kind| kind == delta);
    assert!(done < next, "{kinds:?}");
}

#[test]
fn a_session_that_fails_says_so_of_all_that_is_open() {
    let mut codec = opened(agent(), false);
    speech(&mut codec, "speech_start", 1, 0);
    speech(&mut codec, "speech_stop", 1, 100);
    sound(&mut codec, 1, false);
    said(&mut codec);
    let error = tidegate_nodes::Error::new(tidegate_nodes::Code::AllEndpointsFailed, "gone");
    codec.tell(LinkMessage::Error(error));
    let told = said(&mut codec);
    let of = |kind: &str| told.iter().find(|event| event["type"] == kind);
    let done = of("response.done").expect("done");
    assert_eq!(done["response"]["status"], "failed");
    assert!(of("conversation.item.input_audio_transcription.failed").is_some());
    assert_eq!(
        told.last().expect("error")["error"]["code"],
        "all_endpoints_failed"
    );
}

#[test]
fn where_sound_goes_by_tracks_events_tell_when_it_plays() {
    let mut codec = opened(agent(), true);
    sound(&mut codec, 0, false);
    assert!(
        said(&mut codec).is_empty(),
        "sound of no utterance is no response"
    );
    sound(&mut codec, 1, false);
    let kinds = types(&mut codec);
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("output_audio_buffer.started")
    );
    assert!(!kinds.contains(&"response.output_audio.delta".to_owned()));
    send(&mut codec, &json!({"type": "output_audio_buffer.clear"}));
    assert!(matches!(events(&mut codec)[..], [LinkEvent::Interrupt]));
    let last = said(&mut codec).pop().expect("something");
    assert_eq!(last["type"], "output_audio_buffer.cleared");
    send(
        &mut codec,
        &json!({"type": "input_audio_buffer.append", "audio": ""}),
    );
    assert_eq!(
        said(&mut codec)[0]["error"]["code"],
        "unsupported_by_pipeline"
    );
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut codec = opened(agent(), false);
    for utterance in 1..1_000 {
        speech(&mut codec, "speech_start", utterance, utterance * 10);
        speech(&mut codec, "speech_stop", utterance, utterance * 10 + 5);
        told(
            &mut codec,
            ANSWER,
            utterance + 1_000,
            false,
            Payload::Text("word ".into()),
        );
        said(&mut codec);
    }
    send(
        &mut codec,
        &json!({"type": "conversation.item.retrieve", "item_id": "item_1"}),
    );
    assert_eq!(said(&mut codec)[0]["type"], "error");
}
