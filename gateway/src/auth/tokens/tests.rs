//! Whose a token is, what is told of tokens that do not do, and files that change.

use std::time::Duration;

use super::*;

fn token(name: &str, token: &str) -> TokenConfig {
    TokenConfig {
        name: name.to_owned(),
        token: token.to_owned(),
        pipelines: vec![format!("{name}-*")],
        ..TokenConfig::default()
    }
}

fn auth(tokens: Vec<TokenConfig>) -> Auth {
    Auth {
        token: "the-first".to_owned(),
        tokens,
        ..Auth::default()
    }
}

fn name(tokens: &Tokens, token: &str, at: u64) -> Option<String> {
    let now = Timestamp::ZERO + Duration::from_secs(at);
    let caller = tokens.find(token, now)?;
    Some(caller.name.to_string())
}

#[test]
fn each_token_is_its_owners_and_has_their_grants() {
    let mut hashed = token("ops", "");
    // printf %s ops-token | sha256sum
    let digest = fingerprint("ops-token");
    hashed.token_sha256 = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let config = auth(vec![token("app", "app-token"), hashed]);
    assert_eq!(wrong(&config), [""; 0]);
    let tokens = Tokens::load(&config, &Reloads::none()).expect("no files");
    assert_eq!(name(&tokens, "the-first", 0).as_deref(), Some(THE_TOKEN));
    assert_eq!(name(&tokens, "app-token", 0).as_deref(), Some("app"));
    assert_eq!(name(&tokens, "ops-token", 0).as_deref(), Some("ops"));
    for nobodys in [
        "",
        "app-toke",
        "app-token ",
        "APP-TOKEN",
        &hashed_text(&digest),
    ] {
        assert_eq!(name(&tokens, nobodys, 0), None, "{nobodys}");
    }
    let app = tokens.find("app-token", Timestamp::ZERO).expect("a caller");
    assert!(app.grants.covers("app-one") && !app.grants.covers("ops-one"));
    let all = tokens.find("the-first", Timestamp::ZERO).expect("a caller");
    assert_eq!(all.grants, Grants::all());
}

fn hashed_text(digest: &Fingerprint) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_file_is_read_again_when_it_changes_and_lets_nobody_in_when_it_is_gone() {
    let path = std::env::temp_dir().join(format!("tidegate-token-{}", std::process::id()));
    std::fs::write(&path, "one\n").expect("written");
    let mut filed = token("app", "");
    filed.token_file.clone_from(&path);
    let tokens = Tokens::load(&auth(vec![filed.clone()]), &Reloads::none()).expect("it is there");
    assert_eq!(name(&tokens, "one", 0).as_deref(), Some("app"));
    std::fs::write(&path, "second\n").expect("written");
    assert_eq!(name(&tokens, "second", 2).as_deref(), Some("app"));
    assert_eq!(name(&tokens, "one", 2), None, "it is not good any more");
    std::fs::write(&path, "two words").expect("written");
    assert_eq!(
        name(&tokens, "second", 3).as_deref(),
        Some("app"),
        "a broken file changes nothing"
    );
    std::fs::write(&path, " \n").expect("written");
    assert_eq!(name(&tokens, "", 4), None, "no token is no token");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(name(&tokens, "second", 6), None, "it was taken back");
    let error = Tokens::load(&auth(vec![filed]), &Reloads::none())
        .err()
        .expect("it is gone");
    let text = error.to_string();
    assert!(text.contains("'app' cannot be read"), "{text}");
}

#[test]
fn what_does_not_do_is_named_all_at_once_and_without_the_token() {
    let mut both = token("both", "s3cret");
    both.token_sha256 = "12".to_owned();
    let mut pattern = token("pattern", "s3cret-2");
    pattern.pipelines = vec!["*x".to_owned()];
    let tokens = vec![
        token("", "s3cret-3"),
        token("none", ""),
        both,
        pattern,
        token("none", "with space s3cret"),
        token("same", "the-first"),
    ];
    let said = wrong(&auth(tokens)).join("\n");
    for part in [
        "auth.tokens[0] has no name",
        "auth.tokens[1] has no token: set token_file",
        "auth.tokens[2] has several tokens",
        "auth.tokens[2] has a token_sha256 that is none: 64",
        "auth.tokens[3] grants pipeline '*x'",
        "auth.tokens[4] has a token that no header carries",
        "auth.tokens[4] has the name of auth.tokens[1], 'none'",
        "auth.tokens[5] has the token of auth.token:",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}
