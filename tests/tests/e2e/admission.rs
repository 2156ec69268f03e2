//! Who may come in, changed while the gateway runs: at SIGHUP the settings of `auth` are read again, all of them or none, and files with
//! secrets whenever they change.

use serde_json::{Value, json};
use tidegate_tests::http::Response;
use tidegate_tests::{Deadline, Gateway, Peer, clock};

use crate::clients::ws::{JSON, Ws};
use crate::twilio::call;

const TOKEN: &str = "of the operator";
const RUN: &str = "/v1/pipelines/echo/execute";

/// A gateway with settings that can be written anew.
struct Changing {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Changing {
    async fn start(auth: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tidegate.yaml");
        std::fs::write(&config, json!({"auth": auth}).to_string()).expect("written");
        let gateway = Gateway::start(&["--config", &config.to_string_lossy()]).await;
        Self { gateway, folder }
    }

    fn write(&self, name: &str, text: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, text).expect("written");
        std::fs::rename(&fresh, self.folder.path().join(name)).expect("renamed");
    }

    /// Has the gateway read settings again, and waits until it has.
    async fn reload(&self, settings: &str, outcome: &str) {
        self.write("tidegate.yaml", settings);
        let before = self.reloads(outcome).await;
        self.gateway.signal("HUP").await;
        let done = Deadline::secs(30)
            .until(|| async { (self.reloads(outcome).await > before).then_some(()) })
            .await;
        assert!(done.is_some(), "{outcome}: {}", self.gateway.logs.text());
    }

    async fn reloads(&self, outcome: &str) -> f64 {
        let headers = [("authorization", "Bearer of the operator")];
        let page = self.gateway.request("GET", "/metrics", &headers, "").await;
        let labels = [&*format!("outcome=\"{outcome}\"")];
        let sum =
            tidegate_tests::gateway::sum_of(&page.text(), "tidegate_auth_reloads_total", &labels);
        sum.unwrap_or_else(|| panic!("{}", page.text()))
    }

    async fn execute(&self, token: &str) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", &*bearer),
            ("content-type", "application/json"),
        ];
        let run = r#"{"inputs": {}}"#;
        self.gateway.request("POST", RUN, &headers, run).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.execute(token).await.status
    }
}

fn with(tokens: &Value) -> Value {
    json!({"token": TOKEN, "tokens": tokens})
}

fn settings(tokens: &Value) -> String {
    json!({"auth": with(tokens)}).to_string()
}

fn entry(name: &str, token: &str, pipelines: &[&str]) -> Value {
    json!({"name": name, "token": token, "pipelines": pipelines})
}

#[tokio::test]
async fn tokens_that_are_added_taken_away_or_granted_other_things_are_so_from_the_next_request_on()
{
    let old = json!([
        entry("old", "token-old", &["echo"]),
        entry("some", "token-some", &["echo"])
    ]);
    let changing = Changing::start(&with(&old)).await;
    let protocols = format!("{JSON}, tidegate.bearer.token-old");
    let upgraded = Ws::try_connect(changing.gateway.address, "echo", &protocols, &[]).await;
    let mut standing = upgraded.expect("upgraded");
    standing.send(&json!({"open": {}})).await;
    standing.next_of("opened").await;

    let new = json!([
        entry("new", "token-new", &["echo"]),
        entry("some", "token-some", &["other"])
    ]);
    changing.reload(&settings(&new), "taken").await;
    assert_eq!(changing.status("token-old").await, 401);
    assert_eq!(changing.status("token-some").await, 403);
    assert_eq!(changing.status("token-new").await, 200);
    standing.send(&json!({"end": {}})).await;
    assert_eq!(standing.ending().await.close, 1000, "it goes on");
}

#[tokio::test]
async fn settings_that_do_not_do_change_nothing() {
    let tokens = json!([entry("app", "token-app", &["echo"])]);
    let changing = Changing::start(&with(&tokens)).await;
    let nameless = json!([{"token": "token-new", "pipelines": ["*"]}]);
    let lost = json!([{"name": "lost", "token_file": "/none/token", "pipelines": ["*"]}]);
    for (broken, part) in [
        ("auth: {tokens: [", "tidegate.yaml"),
        (
            "auth: {}\nlimits: {}\nauth: {}\n",
            "line 3, column 1: key 'auth'",
        ),
        (&*settings(&nameless), "auth.tokens[0] has no name"),
        (&*settings(&lost), "/none/token"),
        ("{}", "lets in everybody"),
    ] {
        changing.reload(broken, "refused").await;
        let log = changing.gateway.logs.text();
        assert!(log.contains(part), "{part}: {log}");
        assert_eq!(changing.status("token-app").await, 200);
        assert_eq!(changing.status("token-new").await, 401);
    }
    assert!(!changing.gateway.logs.text().contains("token-new"));
}

#[tokio::test]
async fn twilio_s_auth_token_is_changed_by_having_both_for_a_while() {
    let twilio = |tokens: &[&str]| json!({"token": TOKEN, "twilio": {"auth_tokens": tokens}});
    let settings = |tokens: &[&str]| json!({"auth": twilio(tokens)}).to_string();
    let changing = Changing::start(&twilio(&["0ldt0ken"])).await;
    let opens = async |token: &str| {
        let arguments = ["--seconds", "0.2", "--sign", token];
        let report = call(&changing.gateway, "echo", &arguments).await;
        let opened = report["stopped"] == true;
        assert!(opened || report["status"] == 403, "{report:#}");
        opened
    };
    assert_eq!(
        [opens("0ldt0ken").await, opens("newt0ken").await],
        [true, false]
    );
    changing
        .reload(&settings(&["0ldt0ken", "newt0ken"]), "taken")
        .await;
    assert_eq!(
        [opens("0ldt0ken").await, opens("newt0ken").await],
        [true, true]
    );
    changing.reload(&settings(&["newt0ken"]), "taken").await;
    assert_eq!(
        [opens("0ldt0ken").await, opens("newt0ken").await],
        [false, true]
    );
    // Signatures are asked for as long as there is a token: one that cannot be right is not taken for none.
    changing
        .reload(&settings(&["a token with spaces"]), "refused")
        .await;
    assert_eq!(
        [opens("0ldt0ken").await, opens("newt0ken").await],
        [false, true]
    );
    let log = changing.gateway.logs.text();
    assert!(log.contains("auth.twilio.auth_tokens[0]"), "{log}");
    assert!(
        !log.contains("newt0ken") && !log.contains("with spaces"),
        "{log}"
    );
}

#[tokio::test]
async fn what_a_key_has_opened_is_remembered_when_limits_change() {
    let app = |limits: Value| {
        let mut app = entry("app", "token-app", &["echo"]);
        app["limits"] = limits;
        json!([app])
    };
    let two = app(json!({"opens_per_minute": 1, "burst": 2}));
    let changing = Changing::start(&with(&two)).await;
    assert_eq!(changing.status("token-app").await, 200);
    assert_eq!(changing.status("token-app").await, 200);
    assert_eq!(changing.status("token-app").await, 429);
    changing.reload(&settings(&two), "taken").await;
    assert_eq!(changing.status("token-app").await, 429);
    let three = app(json!({"opens_per_minute": 1, "burst": 3}));
    changing.reload(&settings(&three), "taken").await;
    assert_eq!(changing.status("token-app").await, 200);
    assert_eq!(changing.status("token-app").await, 429);
}

#[tokio::test]
async fn files_with_secrets_are_read_again_when_they_change_and_broken_ones_change_nothing() {
    let [one, other] =
        ["one", "other"].map(|word| format!("the {word} secret, long enough to sign with"));
    let expires = (clock::unix_now() + std::time::Duration::from_secs(600)).as_secs();
    let claims = json!({"sub": "ada", "exp": expires, "tidegate": {"pipelines": ["echo"]}});
    let issued = async |secret: &str| {
        let issuer = Peer::python("jwt_issuer.py").args([&claims.to_string(), secret]);
        let report = issuer.report(Deadline::secs(60)).await;
        report["tokens"]["HS256"]
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let (first, second) = (issued(&one).await, issued(&other).await);
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, &one).expect("written");
    let auth = json!({"token": TOKEN, "jwt": {"secret_file": secret},
        "client_keys": {"secret_file": secret}});
    let changing = Changing::start(&auth).await;
    let mint = [
        ("authorization", "Bearer of the operator"),
        ("content-type", "application/json"),
    ];
    let body = r#"{"pipeline": "echo"}"#;
    let minted = changing
        .gateway
        .request("POST", "/v1/keys", &mint, body)
        .await;
    let minted = minted.json();
    let key = minted["key"].as_str().expect("a key");
    let taken = async || {
        [
            changing.status(&first).await,
            changing.status(&second).await,
            changing.status(key).await,
        ]
    };
    assert_eq!(taken().await, [200, 401, 200]);
    let after = async |text: &str, expected: [u16; 3]| {
        std::fs::write(&secret, text).expect("written");
        let done = Deadline::secs(30)
            .until(|| async { (taken().await == expected).then_some(()) })
            .await;
        assert!(done.is_some(), "{text}: {}", changing.gateway.logs.text());
    };
    after(&other, [401, 200, 401]).await;
    let before = changing.reloads("refused").await;
    std::fs::write(&secret, "short").expect("written");
    let noticed = Deadline::secs(30)
        .until(|| async {
            assert_eq!(taken().await, [401, 200, 401]);
            (changing.reloads("refused").await > before).then_some(())
        })
        .await;
    let log = changing.gateway.logs.text();
    assert!(noticed.is_some() && log.contains("32 characters"), "{log}");
    assert_eq!(taken().await, [401, 200, 401]);
    after(&one, [200, 401, 200]).await;
}
