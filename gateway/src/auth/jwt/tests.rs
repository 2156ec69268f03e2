//! Which tokens are taken, and what is said of others.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::clock::unix_seconds;
use crate::config::Span;

const SECRET: &str = "the secret that both of them have and nobody else";

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let head = BASE64.encode(header.to_string());
    let body = BASE64.encode(claims.to_string());
    let message = format!("{head}.{body}");
    let tag = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{tag}")
}

fn hs256(claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, sign)
}

fn config() -> config::Jwt {
    config::Jwt {
        secret: SECRET.to_owned(),
        ..config::Jwt::default()
    }
}

fn claims() -> Value {
    json!({
        "sub": "ada", "exp": unix_seconds() + 60,
        "tidegate": {"pipelines": ["voice-*"], "metrics": true},
    })
}

async fn shown(config: &config::Jwt, token: &str) -> Result<Caller, String> {
    let jwt = Jwt::new(config, (Clock::start(), &Reloads::none()), None)
        .expect("no files")
        .expect("it is on");
    let found = jwt.identify(token, Timestamp::ZERO).await;
    found.expect("a JWT").map_err(|error| error.message)
}

async fn refused(config: &config::Jwt, token: &str, part: &str) {
    let problem = shown(config, token).await.expect_err(part);
    assert!(problem.contains(part), "{part} in {problem}");
}

#[tokio::test]
async fn a_token_says_who_somebody_is_and_what_they_may_do() {
    let caller = shown(&config(), &hs256(&claims())).await.expect("taken");
    assert!(caller.grants.covers("voice-agent") && !caller.grants.covers("echo"));
    assert!(caller.grants.may_scrape().is_ok() && caller.grants.may_administer().is_err());
    assert!(caller.name.starts_with(NAMED) && !caller.name.contains("ada"));
    assert_eq!(caller.expires_at, claims()["exp"].as_u64());
    assert_eq!(caller.time_left(), None, "its sessions go on");
    let mut other = claims();
    other["iss"] = json!("https://elsewhere.example");
    let other = shown(&config(), &hs256(&other)).await.expect("taken");
    assert_ne!(other.name, caller.name, "of another issuer");

    let ends = config::Jwt {
        end_sessions: true,
        ..config()
    };
    let caller = shown(&ends, &hs256(&claims())).await.expect("taken");
    let left = caller.time_left().expect("it ends");
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30));
}

#[tokio::test]
async fn a_token_must_be_whole_in_time_and_ours() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        hs256(&claims)
    };
    let now = unix_seconds();
    refused(&config(), &with("exp", json!(now - 31)), "expired").await;
    assert!(
        shown(&config(), &with("exp", json!(now - 5))).await.is_ok(),
        "clocks differ"
    );
    refused(&config(), &with("nbf", json!(now + 60)), "'nbf'").await;
    refused(&config(), &with("exp", Value::Null), "").await;
    refused(&config(), &with("sub", Value::Null), "'sub'").await;
    refused(&config(), &with("sub", json!("")), "'sub'").await;
    refused(
        &config(),
        &with("tidegate", json!({"pipeline": ["echo"]})),
        "'tidegate'",
    )
    .await;
    refused(
        &config(),
        &with("tidegate", json!({"pipelines": ["a*b"]})),
        "'a*b'",
    )
    .await;
    let none = shown(&config(), &with("tidegate", Value::Null))
        .await
        .expect("somebody");
    assert!(none.grants.may_open().is_err(), "who is granted nothing");

    let strict = config::Jwt {
        audiences: vec!["tidegate".to_owned()],
        issuers: vec!["https://id.example".to_owned()],
        leeway: Span(Duration::ZERO),
        ..config()
    };
    let mut ours = claims();
    ours["aud"] = json!(["other", "tidegate"]);
    ours["iss"] = json!("https://id.example");
    assert!(shown(&strict, &hs256(&ours)).await.is_ok());
    for (name, value, part) in [
        ("aud", json!("other"), "'aud'"),
        ("aud", Value::Null, "aud"),
        ("iss", json!("https://evil.example"), "'iss'"),
        ("iss", Value::Null, "iss"),
        ("exp", json!(now - 5), "expired"),
    ] {
        let mut others = ours.clone();
        others[name] = value;
        if others[name].is_null() {
            others.as_object_mut().expect("claims").remove(name);
        }
        refused(&strict, &hs256(&others), part).await;
    }
}

#[tokio::test]
async fn no_token_chooses_how_it_is_checked() {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("a key");
    let public = BASE64.encode(pair.public_key());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": public}]});
    let folder = std::env::temp_dir().join(format!("tidegate-jwks-{}", std::process::id()));
    std::fs::write(&folder, set.to_string()).expect("written");
    let config = config::Jwt {
        secret: String::new(),
        jwks_file: folder.clone(),
        ..config()
    };
    let eddsa = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    let head = |alg: &str| json!({"alg": alg, "kid": "one"});
    assert!(
        shown(&config, &token(&head("EdDSA"), &claims(), eddsa))
            .await
            .is_ok()
    );
    let other = json!({"alg": "EdDSA", "kid": "two"});
    refused(&config, &token(&other, &claims(), eddsa), "'two'").await;
    // What is public, taken for a secret.
    let key = hmac::Key::new(hmac::HMAC_SHA256, pair.public_key().as_ref());
    let forged = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
    refused(&config, &token(&head("HS256"), &claims(), forged), "HS256").await;
    refused(
        &config,
        &token(&head("EdDSA"), &claims(), forged),
        "signature is wrong",
    )
    .await;
    refused(&config, &token(&head("ES256"), &claims(), eddsa), "ES256").await;
    let critical = json!({"alg": "EdDSA", "kid": "one", "crit": ["b64"], "b64": false});
    refused(&config, &token(&critical, &claims(), eddsa), "'crit'").await;
    let jwt = Jwt::new(&config, (Clock::start(), &Reloads::none()), None)
        .expect("a file")
        .expect("it is on");
    let unsigned = token(&json!({"alg": "none"}), &claims(), |_| Vec::new());
    assert!(
        jwt.identify(&unsigned, Timestamp::ZERO).await.is_none(),
        "none is no algorithm"
    );
    std::fs::remove_file(&folder).expect("it is there");
}

#[test]
fn what_cannot_work_is_said_at_start() {
    let found = |change: fn(&mut config::Jwt)| {
        let mut config = config();
        change(&mut config);
        wrong(&config)
    };
    assert_eq!(found(|_| {}), [""; 0]);
    assert_eq!(found(|c| c.secret = "short".into()).len(), 1);
    assert_eq!(found(|c| c.secret_file = "file".into()).len(), 1);
    assert_eq!(found(|c| c.claim = String::new()).len(), 1);
    for fine in [
        "https://id.example/keys",
        "http://127.0.0.1:1/keys",
        "http://localhost/",
    ] {
        let config = config::Jwt {
            jwks_url: fine.to_owned(),
            ..config()
        };
        assert_eq!(wrong(&config), [""; 0], "{fine}");
    }
    for odd in [
        "http://id.example/keys",
        "id.example",
        "https://",
        "ftp://id.example/",
    ] {
        let config = config::Jwt {
            jwks_url: odd.to_owned(),
            ..config()
        };
        assert_eq!(wrong(&config).len(), 1, "{odd}");
    }
}
