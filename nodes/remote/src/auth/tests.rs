//! Values, files that change, and tokens that end.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn jwt(exp: u64) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let head = part(r#"{"alg":"none"}"#.into());
    format!(
        "{head}.{}.c2ln",
        part(format!(r#"{{"sub":"a","exp":{exp}}}"#))
    )
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Replaces a file as those do that renew tokens: whole, by its name.
fn write(path: &std::path::Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(&fresh, path).expect("renamed");
}

fn of_file(path: &std::path::Path) -> Auth {
    Auth {
        bearer: Some(AuthValue::File(path.to_owned())),
        ..Auth::default()
    }
}

fn authorization(credential: &Credential) -> &str {
    let value = credential.headers().get("authorization");
    value.expect("there").to_str().expect("text")
}

#[test]
fn values_become_headers_and_are_never_printed() {
    let auth = Auth {
        header: Some((
            "X-Api-Key".into(),
            AuthValue::Inline(Secret::new("k3y\n".into())),
        )),
        ..Auth::bearer("t0ken")
    };
    let credential = auth.read(&Files::default(), at(0)).expect("values");
    assert_eq!(authorization(&credential), "Bearer t0ken");
    let key = &credential.headers()["x-api-key"];
    assert_eq!(key, "k3y");
    assert!(key.is_sensitive());
    let shown = format!("{auth:?} {credential:?}");
    assert!(
        !shown.contains("k3y") && !shown.contains("t0ken"),
        "{shown}"
    );
    assert_eq!(credential.poll_timeout(), None);
}

#[test]
fn what_cannot_be_used_names_the_key_that_is_wrong() {
    let header = |name: &str, value: &str| Auth {
        header: Some((name.into(), AuthValue::Inline(Secret::new(value.into())))),
        ..Auth::default()
    };
    let half = Auth {
        tls: AuthTls {
            cert: Some(AuthValue::Inline(Secret::new("pem".into()))),
            ..AuthTls::default()
        },
        ..Auth::default()
    };
    let cases = [
        (Auth::bearer("a\nb"), "'auth.bearer' has characters"),
        (Auth::bearer(" "), "'auth.bearer' is empty"),
        (header("a b", "c"), "'auth.header.name' is 'a b'"),
        (half, "'auth.tls' has one of 'cert' and 'key'"),
        (
            of_file(std::path::Path::new("/nowhere/token")),
            "the file of 'auth.bearer', /nowhere/token, cannot be read: No such file",
        ),
    ];
    for (auth, expected) in cases {
        let error = auth.read(&Files::default(), at(0)).expect_err("refused");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn a_file_is_read_again_when_it_has_changed_and_an_open_stream_is_due_then() {
    let folder = folder();
    let path = folder.path().join("token");
    write(&path, "one\n");
    let (files, auth) = (Files::default(), of_file(&path));
    let mut first = auth.read(&files, at(0)).expect("a token");
    assert_eq!(authorization(&first), "Bearer one");
    assert_eq!(first.poll_timeout(), Some(at(1_000)));
    assert!(!first.is_due(at(1_000)));
    write(&path, "two");
    // Not before its time.
    assert!(!first.is_due(at(1_500)));
    assert!(first.is_due(at(2_000)));
    let mut second = auth.read(&files, at(2_000)).expect("a token");
    assert_eq!(authorization(&second), "Bearer two");
    assert!(!second.is_due(at(3_000)));
    // In the middle of being replaced.
    std::fs::remove_file(&path).expect("removed");
    assert!(!second.is_due(at(4_000)));
    write(&path, "");
    assert!(!second.is_due(at(5_000)));
}

#[test]
fn a_token_that_says_when_it_ends_is_replaced_shortly_before() {
    let folder = folder();
    let path = folder.path().join("token");
    let unix = crate::clock::unix_now().as_secs();
    write(&path, &jwt(unix + 3_600));
    let (files, auth) = (Files::default(), of_file(&path));
    let mut first = auth.read(&files, at(0)).expect("a token");
    let expires = first.expires.expect("it says so");
    assert!(
        (at(3_598_000)..=at(3_600_000)).contains(&expires),
        "{expires:?}"
    );
    write(&path, &jwt(unix + 7_200));
    assert!(!first.is_due(at(5_000)));
    let due = first.poll_timeout().expect("a file");
    assert_eq!(expires - due, Duration::from_secs(30));
    assert!(first.is_due(due));
    let left = first.leave_by(due);
    assert!(due < left && left < expires, "{due:?} {left:?} {expires:?}");
    // Where the newer one came too late, at once.
    assert_eq!(first.leave_by(at(4_000_000)), at(4_000_000));
}

#[test]
fn only_a_jwt_says_when_it_ends() {
    let now = Duration::from_secs(1_000);
    let left = |token: &str| token::time_left(token, now);
    assert_eq!(left(&jwt(1_060)), Some(Duration::from_secs(60)));
    assert_eq!(left(&jwt(10)), Some(Duration::ZERO));
    assert_eq!(left("opaque"), None);
    assert_eq!(left("a.b.c"), None);
    assert_eq!(left("1.2.3.4"), None);
    assert!(left(&jwt(u64::MAX)).is_none_or(|left| left < Duration::from_secs(1 << 32)));
}
