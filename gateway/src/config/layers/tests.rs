//! Which layer wins, what is told of values that do not do, and the documentation against the settings.

use super::*;

fn variable(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_default() {
    let variables = variable("TIDEGATE_LISTEN", "127.0.0.1:9000");
    let layered = Layered::load(None, variables.clone(), Vec::new()).expect("loads");
    assert_eq!(layered.config.listen.port(), 9000);
    let flags = vec![("listen", "--listen", Value::from("127.0.0.1:9001"))];
    let layered = Layered::load(None, variables, flags).expect("loads");
    assert_eq!(layered.config.listen.port(), 9001);
    assert!(
        layered
            .print()
            .contains("listen: \"127.0.0.1:9001\"  # --listen")
    );
}

fn strays(names: &[&str]) -> Vec<String> {
    let variables = names
        .iter()
        .map(|name| ((*name).to_owned(), "1".to_owned()));
    let layered = Layered::load(None, variables, Vec::new()).expect("loads");
    let strays = layered.strays.iter();
    strays
        .map(|stray| format!("{} {}", stray.name, stray.nearest))
        .collect()
}

#[test]
fn a_variable_that_names_no_setting_is_reported_with_the_nearest() {
    let names = ["TIDEGATE_LIMIT_SESSIONS", "TIDEGATE_CONFIG", "HOME"];
    assert_eq!(
        strays(&names),
        ["TIDEGATE_LIMIT_SESSIONS TIDEGATE_LIMITS_SESSIONS"]
    );
    let port = "TIDEGATE_PORT";
    assert_eq!(strays(&[port]).len(), 1);
    let service = [port, SERVICE_LINK, "TIDEGATE_PORT_8080_TCP_ADDR"];
    assert_eq!(strays(&service), [""; 0], "Kubernetes sets these");
}

#[test]
fn secrets_are_not_printed() {
    let variables = variable("TIDEGATE_AUTH_TOKEN", "hunter2");
    let layered = Layered::load(None, variables, Vec::new()).expect("loads");
    assert_eq!(layered.config.auth.token, "hunter2");
    assert!(!layered.print().contains("hunter2"));
    assert!(
        layered
            .print()
            .contains("auth.token: \"(hidden)\"  # $TIDEGATE_AUTH_TOKEN")
    );
}

#[test]
fn a_token_in_a_list_is_shown_neither_by_itself_nor_in_an_error() {
    let load = |tokens: Value| {
        let flags = vec![("auth.tokens", "--test", tokens)];
        Layered::load(None, Vec::new(), flags)
    };
    let sound = serde_json::json!([{"name": "app", "token": "hunter2"}]);
    let layered = load(sound).expect("loads");
    let printed = layered.print();
    assert!(
        printed.contains("app") && !printed.contains("hunter2"),
        "{printed}"
    );
    assert!(!format!("{:?}", layered.config).contains("hunter2"));
    for wrong in [
        serde_json::json!("hunter2"),
        serde_json::json!(["hunter2"]),
        serde_json::json!([{"name": "app", "token": ["hunter2"]}]),
        serde_json::json!([{"name": "app", "token": "hunter2", "pipelines": "echo"}]),
        serde_json::json!([{"name": "a b", "token": "hunter2"}]),
    ] {
        let error = load(wrong.clone()).expect_err("wrong").to_string();
        assert!(error.contains("auth.tokens"), "{wrong}: {error}");
        assert!(!error.contains("hunter2"), "{wrong}: {error}");
    }
}

#[test]
fn an_unknown_setting_names_its_file_and_the_known_ones() {
    let mut layered = Layered::load(None, Vec::new(), Vec::new()).expect("loads");
    let value = serde_json::json!({"limits": {"session_count": 3}});
    let mut wrong = Vec::new();
    layered.merge("", &value, &Origin::File("t.yaml".into()), &mut wrong);
    let text = ConfigError::all(wrong).expect_err("unknown").to_string();
    assert!(
        text.contains("limits.session_count") && text.contains("sessions"),
        "{text}"
    );
}

#[test]
fn a_bad_value_names_where_it_came_from() {
    let variables = variable("TIDEGATE_LIMITS_SESSIONS", "many");
    let error = Layered::load(None, variables, Vec::new()).expect_err("not a number");
    assert!(
        error.to_string().contains("$TIDEGATE_LIMITS_SESSIONS"),
        "{error}"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_in_plain_words() {
    let variables = [
        ("TIDEGATE_LIMITS_SESSIONS", "many"),
        ("TIDEGATE_LISTEN", "localhost:8080"),
        ("TIDEGATE_MEDIA", "127.0.0.1"),
        ("TIDEGATE_INSECURE", "perhaps"),
        ("TIDEGATE_LIMITS_IDLE", "soon"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let error = Layered::load(None, variables, Vec::new()).expect_err("all wrong");
    let text = error.to_string();
    for part in [
        "\"many\" does not do: a whole number from 0 is expected",
        "write its address, 127.0.0.1:8080",
        "'127.0.0.1' has no port",
        "true or false is expected",
        "$TIDEGATE_LIMITS_IDLE",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains("usize"), "{text}");
}

fn refusal(name: &str, value: &str) -> Option<String> {
    let loaded = Layered::load(None, variable(name, value), Vec::new());
    loaded.err().map(|error| error.to_string())
}

#[test]
fn what_would_be_taken_and_never_work_is_refused_with_what_would() {
    for (name, value, mend) in [
        (
            "TIDEGATE_ORIGINS",
            "https://app.example/",
            "write https://app.example",
        ),
        (
            "TIDEGATE_ORIGINS",
            "https://App.example:443",
            "write https://app.example",
        ),
        ("TIDEGATE_ORIGINS", "http://a:80,http://b", "write http://a"),
        ("TIDEGATE_ORIGINS", "app.example", "write the scheme"),
        ("TIDEGATE_LIMITS_IDLE", "5", "a duration such as 500ms"),
        ("TIDEGATE_LIMITS_MESSAGE", "4", "a size such as 64KiB"),
        (
            "TIDEGATE_LOG_FILTER",
            "tidegate=loud",
            "'log.filter' from $TIDEGATE_LOG_FILTER",
        ),
    ] {
        let said = refusal(name, value).unwrap_or_else(|| panic!("{name}={value} is taken"));
        assert!(said.contains(mend), "{name}={value}: {said}");
    }
    for (name, value) in [
        (
            "TIDEGATE_ORIGINS",
            "https://app.example,http://127.0.0.1:5173,null",
        ),
        ("TIDEGATE_LIMITS_IDLE", "0"),
        ("TIDEGATE_LOG_FILTER", "warn,tidegate_gateway=debug"),
    ] {
        assert_eq!(refusal(name, value), None, "{name}={value}");
    }
    let file = serde_json::json!({"limits": {"idle": 5}});
    let mut layered = Layered::load(None, Vec::new(), Vec::new()).expect("loads");
    layered.merge("", &file, &Origin::File("t.yaml".into()), &mut Vec::new());
    let defaults = serde_json::to_value(Config::default()).expect("settings are JSON");
    assert_eq!(layered.wrong(&defaults).len(), 1, "five what?");
}

#[test]
fn the_documented_file_starts() {
    let page = include_str!("../../../../docs/configuration.md");
    let (_, file) = page.split_once("```yaml\n").expect("a file");
    let (file, _) = file.split_once("```").expect("its end");
    let value: Value = serde_saphyr::from_str(file).expect("YAML");
    let mut layered = Layered::load(None, Vec::new(), Vec::new()).expect("loads");
    let mut wrong = Vec::new();
    layered.merge("", &value, &Origin::File("docs".into()), &mut wrong);
    let defaults = serde_json::to_value(Config::default()).expect("settings are JSON");
    wrong.extend(layered.wrong(&defaults));
    assert!(wrong.is_empty(), "{wrong:?}");
    layered.config = serde_json::from_value(layered.merged.clone()).expect("settings");
    let checked = layered.check();
    assert!(checked.is_ok(), "{checked:?}");
}

#[test]
fn every_setting_is_documented_with_its_default_and_variable() {
    let page = include_str!("../../../../docs/configuration.md");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let defaults = serde_json::to_value(Config::default()).expect("settings are JSON");
    let mut settings = 0;
    walk("", &defaults, &mut |path, value| {
        settings += 1;
        let variable = variable_of(path);
        let row = format!("| `{path}` | `{value}` | ");
        let found = rows.iter().find(|line| line.starts_with(&row));
        let found = found.unwrap_or_else(|| panic!("docs/configuration.md lacks: {row}"));
        let settable = found.contains(&format!("| `{variable}` |"));
        assert!(settable || found.contains("| file only |"), "{found}");
        // Lists of maps do not fit a variable.
        let listed = ["auth.tokens", "auth.certificates", "webrtc.ice_servers"].contains(&path);
        assert_eq!(settable, !listed, "{found}");
    });
    assert_eq!(rows.len(), settings, "a row for each setting and no other");
}
