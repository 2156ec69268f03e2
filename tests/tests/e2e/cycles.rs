//! Circles across gateways, and what does not fit, are found before a session starts.

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Ws};
use tokio::net::TcpListener;

use crate::sites::{Site, greeting, pipeline, relay, texts};

/// Refused with the whole circle, each gateway by its identity's beginning.
async fn assert_circle(site: &Site, name: &str, steps: &[(&Site, &str)]) {
    let (status, problem) = site.execute(name, &["a"]).await;
    let shown = format!("{problem:#}\n{}", site.gateway.logs.text());
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("manifest_cycle")),
        "{shown}"
    );
    let text = problem["detail"].as_str().expect("a detail");
    let mut rest = text;
    for (site, pipeline) in steps {
        let step = format!("{}/{pipeline}", &site.id().await[..8]);
        let at = rest.find(&step);
        rest = &rest[at.unwrap_or_else(|| panic!("no {step}: {text}")) + step.len()..];
    }
}

#[tokio::test]
async fn fr_012_a_circle_of_two_gateways_is_refused_and_shown_whole() {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    a.publish(&relay("there", &b.url(), "back")).await;
    b.publish(&relay("back", &a.url(), "there")).await;
    assert_circle(&a, "there", &[(&a, "there"), (&b, "back"), (&a, "there")]).await;
    // Found by A a moment ago, and told as A found it.
    assert_circle(&b, "back", &[(&a, "there"), (&b, "back"), (&a, "there")]).await;
    assert_eq!(a.gateway.sessions().await, 0);
}

#[tokio::test]
async fn fr_012_a_circle_is_found_through_hops_of_every_transport() {
    for transport in ["http", "websocket", "webrtc"] {
        let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
        let by = |name: &str, to: &Site, there: &str| {
            let mut manifest = relay(name, &to.url(), there);
            manifest["nodes"][0]["params"]["transport"] = json!(transport);
            manifest
        };
        a.publish(&by("there", &b, "back")).await;
        b.publish(&by("back", &a, "there")).await;
        assert_circle(&a, "there", &[(&a, "there"), (&b, "back"), (&a, "there")]).await;
        assert_eq!(b.gateway.sessions().await, 0, "{transport}");
    }
}

#[tokio::test]
async fn fr_012_a_circle_of_three_is_refused_also_to_who_only_leads_into_it() {
    let (a, b, c) = (
        Site::start(&[]).await,
        Site::start(&[]).await,
        Site::start(&[]).await,
    );
    a.publish(&relay("one", &b.url(), "two")).await;
    b.publish(&relay("two", &c.url(), "three")).await;
    c.publish(&relay("three", &a.url(), "one")).await;
    c.publish(&relay("outside", &a.url(), "one")).await;
    let circle = [(&a, "one"), (&b, "two"), (&c, "three"), (&a, "one")];
    assert_circle(&a, "one", &circle).await;
    let (status, problem) = c.execute("outside", &["a"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("manifest_cycle")),
        "{problem:#}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        !detail.contains("outside"),
        "it is not in the circle: {detail}"
    );
}

#[tokio::test]
async fn fr_012_a_circle_through_an_inline_manifest_is_refused() {
    let a = Site::start(&[]).await;
    let url = a.url();
    let b = Site::start(&[
        ("TIDEGATE_INLINE", "true"),
        ("TIDEGATE_INLINE_ENDPOINTS", &url),
    ])
    .await;
    let inner = relay("inner", &url, "outer");
    let params = json!({"endpoints": [b.url()], "manifest": inner});
    a.publish(&pipeline("outer", "remote", params)).await;
    assert_circle(&a, "outer", &[(&a, "outer"), (&b, "inner@"), (&a, "outer")]).await;
}

#[tokio::test]
async fn fr_012_a_session_that_passed_ten_gateways_goes_no_further_whatever_they_said_of_themselves()
 {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    b.publish(&greeting("leaf")).await;
    a.publish(&relay("outer", &b.url(), "leaf")).await;
    let frame = json!({"utterance": 1, "final": true, "text": {"text": "you"}});
    let run = async |hop_count: u32| {
        let body = json!({"pipeline": "outer", "hop_count": hop_count, "inputs": {"in": [frame]}});
        let answer = a.gateway.post_json("/v1/execute", &body).await;
        (answer.status, answer.json())
    };
    let (status, answer) = run(9).await;
    assert_eq!(status, 200, "the tenth: {answer:#}");
    // One has it that is not to send it on, the other is not to have it at all.
    for hop_count in [10, 11] {
        let (status, problem) = run(hop_count).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("manifest_cycle")),
            "{problem:#}"
        );
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains(&format!("passed {hop_count} gateways")),
            "{detail}"
        );
    }
    let seen = b
        .gateway
        .metric_becomes("tidegate_sessions_total", &[], 1.0)
        .await;
    assert_eq!(seen, Some(1.0), "nothing else reached the next gateway");
}

#[tokio::test]
async fn fr_012_one_gateway_may_come_twice_with_other_pipelines() {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    a.publish(&greeting("leaf")).await;
    b.publish(&relay("middle", &a.url(), "leaf")).await;
    a.publish(&relay("root", &b.url(), "middle")).await;
    let (status, answer) = a.execute("root", &["you"]).await;
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(texts(&answer), ["hello you"]);
}

#[tokio::test]
async fn fr_012_a_description_shows_what_is_referred_to_and_no_secret() {
    let (a, b, c) = (
        Site::start(&[]).await,
        Site::start(&[]).await,
        Site::start(&[]).await,
    );
    c.publish(&greeting("leaf")).await;
    b.publish(&relay("middle", &c.url(), "leaf")).await;
    let params = json!({
        "endpoints": [b.url()],
        "pipeline": "middle",
        "auth": {"bearer": "s3cret", "header": {"name": "x-api-key", "value": "s3cret"}},
    });
    a.publish(&pipeline("root", "remote", params)).await;
    let answer = a.gateway.get("/v1/pipelines/root").await;
    assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    let about = answer.json();
    let reference = &about["references"][0];
    assert_eq!(reference["hop"], "far", "{about:#}");
    assert_eq!(reference["pipeline"], "middle", "{about:#}");
    assert_eq!(reference["endpoints"], json!([b.url()]), "{about:#}");
    let found = &reference["found"][0];
    assert_eq!(found["gateway_id"], b.id().await, "{about:#}");
    let deeper = &found["references"][0];
    assert_eq!(deeper["endpoints"], json!([c.url()]), "{about:#}");
    let leaf = c.gateway.get("/v1/pipelines/leaf").await.json();
    assert_eq!(deeper["found"][0]["digest"], leaf["digest"], "{about:#}");
    assert_eq!(deeper["found"][0]["references"], json!([]), "{about:#}");
}

#[tokio::test]
async fn fr_015_edge_a_manifest_of_node_types_that_the_worker_lacks_is_incompatible_and_both_are_named()
 {
    let b = Site::start(&[("TIDEGATE_INLINE", "true")]).await;
    let a = Site::start(&[]).await;
    let mut inner = greeting("inner");
    inner["nodes"][0]["type"] = json!("text.translate");
    let params = json!({"endpoints": [b.url()], "manifest": inner});
    a.publish(&pipeline("outer", "remote", params)).await;
    let (status, problem) = a.execute("outer", &["a"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("incompatible")),
        "{problem:#}"
    );
    assert_eq!(problem["hop"], "far", "{problem:#}");
    assert_eq!(problem["endpoint"], b.url(), "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("text.translate"), "{detail}");
}

#[tokio::test]
async fn fr_015_a_manifest_of_another_version_is_refused_before_anything_is_sent() {
    let b = Site::start(&[("TIDEGATE_INLINE", "true")]).await;
    let a = Site::start(&[]).await;
    let mut inner = greeting("inner");
    inner["version"] = json!("tidegate/v9");
    let params = json!({"endpoints": [b.url()], "manifest": inner});
    a.publish(&pipeline("outer", "remote", params)).await;
    let (status, problem) = a.execute("outer", &["a"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("incompatible")),
        "{problem:#}"
    );
    assert_eq!(problem["hop"], "far", "{problem:#}");
    assert_eq!(problem["endpoint"], b.url(), "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    for word in ["tidegate/v9", "tidegate/v1"] {
        assert!(detail.contains(word), "no {word}: {detail}");
    }
    let seen = b.gateway.metric("tidegate_sessions_total", &[]).await;
    assert_eq!(seen.unwrap_or(0.0), 0.0);
}

#[tokio::test]
async fn fr_015_a_pipeline_of_other_kinds_is_incompatible_and_both_are_named() {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    a.publish(&relay("outer", &b.url(), "echo")).await;
    let (status, problem) = a.execute("outer", &["a"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("incompatible")),
        "{problem:#}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    for word in ["text", "audio", "far"] {
        assert!(detail.contains(word), "no {word}: {detail}");
    }
}

#[tokio::test]
async fn fr_015_an_unknown_pipeline_is_said_before_anything_is_sent() {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    a.publish(&relay("outer", &b.url(), "nothing")).await;
    let (status, problem) = a.execute("outer", &["a"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("unknown_pipeline")),
        "{problem:#}"
    );
    assert_eq!(problem["hop"], "far", "{problem:#}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_holds_up_nobody_once_it_is_known() {
    let (a, b) = (Site::start(&[]).await, Site::start(&[]).await);
    b.publish(&greeting("leaf")).await;
    // Connections stand here, and nothing is ever said.
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mute = format!("http://{}", mute.local_addr().expect("an address"));
    let params = json!({
        "endpoints": [b.url(), mute],
        "pipeline": "leaf",
        "timeout": {"connect": "300ms"},
    });
    a.publish(&pipeline("outer", "remote", params)).await;
    let (mut first, _) = Ws::open(&a.gateway, "outer", json!({"pipeline": "outer"})).await;
    first.send("end", json!({})).await;
    let by = Deadline::secs(5);
    for _ in 0..3 {
        let open = Ws::open(&a.gateway, "outer", json!({"pipeline": "outer"}));
        let opened = by.wait(open).await;
        assert!(opened.is_some(), "{}", a.gateway.logs.text());
    }
    let about: Value = a.gateway.get("/v1/pipelines/outer").await.json();
    let found = about["references"][0]["found"].clone();
    assert_eq!(found[0]["problem"], Value::Null, "{about:#}");
    assert!(found[1]["problem"].is_string(), "{about:#}");
}
