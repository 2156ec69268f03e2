//! Manifests by URL are fetched within limits, pinned, kept, and never from private addresses unless that is allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_tests::Deadline;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::sites::{Site, greeting, pipeline, relay, texts};

/// A server of files that answers every path with what it is told to.
struct Files {
    address: String,
    asked: Arc<AtomicUsize>,
    /// Those that had a tag.
    asked_again: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// What is answered to a path, and to whether a tag was sent. Nothing: the connection stands in silence.
type Answer = Arc<dyn Fn(&str, bool) -> Vec<u8> + Send + Sync>;

impl Files {
    async fn start(answer: impl Fn(&str, bool) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::with(None, Arc::new(answer)).await
    }

    /// The same with TLS, as this.
    async fn with(tls: Option<TlsAcceptor>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, asked_again) = (Arc::default(), Arc::default());
        let counts = (Arc::clone(&asked), Arc::clone(&asked_again));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer, counts) = (tls.clone(), Arc::clone(&answer), counts.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &answer, &counts).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &answer, &counts).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            asked,
            asked_again,
            _tasks: tasks,
        }
    }

    /// Requests since the last time that this was asked: all, and those with a tag.
    fn taken(&self) -> (usize, usize) {
        let all = self.asked.swap(0, Ordering::SeqCst);
        (all, self.asked_again.swap(0, Ordering::SeqCst))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// One request, and its answer.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &Answer,
    (asked, asked_again): &(Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let mut head = vec![0; 8192];
    let read = stream.read(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    let tagged = head.contains("if-none-match");
    asked.fetch_add(1, Ordering::SeqCst);
    asked_again.fetch_add(usize::from(tagged), Ordering::SeqCst);
    let path = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let bytes = answer(&path, tagged);
    if bytes.is_empty() {
        std::future::pending::<()>().await;
    }
    stream.write_all(&bytes).await.ok();
    stream.shutdown().await.ok();
}

/// A manifest that is to be asked for again each time, with a tag.
fn tagged(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\netag: \"one\"\r\ncache-control: max-age=0";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A gateway that takes manifests, and one that has them fetched, from hosts of these names even if they are private.
async fn sites(hosts: &str) -> (Site, Site) {
    let worker = Site::start(&[("TIDEGATE_INLINE", "true")]).await;
    let front = Site::start(&[("TIDEGATE_MANIFEST_HOSTS", hosts)]).await;
    (front, worker)
}

fn fetching(worker: &Site, url: &str) -> Value {
    let params = json!({"endpoints": [worker.url()], "manifest_url": url});
    pipeline("outer", "remote", params)
}

async fn assert_refused(front: &Site, words: &[&str]) {
    let (status, problem) = front.execute("outer", &["you"]).await;
    let shown = format!("{problem:#}\n{}", front.gateway.logs.text());
    assert_eq!(
        (status, &problem["code"]),
        (502, &json!("manifest_fetch_failed")),
        "{shown}"
    );
    assert_eq!(problem["hop"], "far", "{shown}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    for word in words {
        assert!(detail.contains(word), "no {word}: {shown}");
    }
}

#[tokio::test]
async fn fr_004_a_manifest_by_url_is_fetched_once_and_run_at_the_worker() {
    let text = greeting("inner").to_string();
    let files = Files::start(move |path, _| match path {
        "/moved" => redirect("/inner.yaml"),
        _ => ok(&text),
    })
    .await;
    let (front, worker) = sites("127.0.0.1").await;
    front
        .publish(&fetching(&worker, &files.url("/moved")))
        .await;
    for _ in 0..3 {
        let (status, answer) = front.execute("outer", &["you"]).await;
        assert_eq!(status, 200, "{answer:#}\n{}", front.gateway.logs.text());
        assert_eq!(texts(&answer), ["hello you"]);
    }
    assert_eq!(
        files.asked.load(Ordering::SeqCst),
        2,
        "one redirect, one manifest"
    );
    let about = front.gateway.get("/v1/pipelines/outer").await.json();
    let reference = &about["references"][0];
    assert_eq!(reference["manifest_url"], files.url("/moved"), "{about:#}");
    assert_eq!(
        reference["found"][0]["digest"], reference["digest"],
        "{about:#}"
    );
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_listed_at_first_and_behind_a_redirect() {
    let text = greeting("inner").to_string();
    let files = Files::start(move |_, _| ok(&text)).await;
    let (front, worker) = sites("").await;
    front
        .publish(&fetching(&worker, &files.url("/inner.yaml")))
        .await;
    assert_refused(&front, &["127.0.0.1", "private address", "manifest_hosts"]).await;
    assert_eq!(
        files.asked.load(Ordering::SeqCst),
        0,
        "nothing was sent there"
    );

    let behind = files.url("/inner.yaml").replace("127.0.0.1", "127.0.0.2");
    let first = Files::start(move |_, _| redirect(&behind)).await;
    let (front, worker) = sites("127.0.0.1").await;
    front.publish(&fetching(&worker, &first.url("/"))).await;
    assert_refused(&front, &["127.0.0.2", "private address"]).await;
    assert_eq!(
        files.asked.load(Ordering::SeqCst),
        0,
        "nothing was sent there"
    );
}

#[tokio::test]
async fn what_is_too_large_too_often_elsewhere_or_no_manifest_is_refused_with_its_reason() {
    let files = Files::start(|path, _| match path {
        "/large" => ok(&"#".repeat(300 << 10)),
        "/round" => redirect("/round"),
        "/gone" => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => ok("just: words"),
    })
    .await;
    let (front, worker) = sites("127.0.0.1").await;
    let cases = [
        ("/large", "larger than 262144 bytes"),
        ("/round", "more than 3 redirects"),
        ("/gone", "404"),
        ("/words", "is no manifest"),
    ];
    for (path, word) in cases {
        front.publish(&fetching(&worker, &files.url(path))).await;
        assert_refused(&front, &[word, path]).await;
    }
}

#[tokio::test]
async fn a_pinned_manifest_is_taken_only_as_it_was_pinned() {
    let text = greeting("inner").to_string();
    let other = greeting("changed").to_string();
    let served = text.clone();
    let files =
        Files::start(move |path, _| ok(if path == "/right" { &served } else { &other })).await;
    let (front, worker) = sites("127.0.0.1").await;
    let pinned = |path: &str| {
        let mut manifest = fetching(&worker, &files.url(path));
        let digest = sha256(text.as_bytes());
        manifest["nodes"][0]["params"]["manifest_sha256"] = json!(digest);
        manifest
    };
    front.publish(&pinned("/wrong")).await;
    assert_refused(&front, &["SHA-256", "manifest_sha256"]).await;
    front.publish(&pinned("/right")).await;
    let (status, answer) = front.execute("outer", &["you"]).await;
    assert_eq!(status, 200, "{answer:#}");
}

#[tokio::test]
async fn fr_012_a_circle_through_a_fetched_manifest_is_refused() {
    let front = Site::start(&[("TIDEGATE_MANIFEST_HOSTS", "127.0.0.1")]).await;
    let url = front.url();
    let settings = [
        ("TIDEGATE_INLINE", "true"),
        ("TIDEGATE_INLINE_ENDPOINTS", url.as_str()),
    ];
    let worker = Site::start(&settings).await;
    let text = relay("inner", &url, "outer").to_string();
    let files = Files::start(move |_, _| ok(&text)).await;
    front
        .publish(&fetching(&worker, &files.url("/inner.yaml")))
        .await;
    let (status, problem) = front.execute("outer", &["you"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("manifest_cycle")),
        "{problem:#}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("/outer -> ") && detail.contains("/inner@"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_kept_manifest_is_asked_for_again_by_its_tag_and_serves_on_while_the_server_fails() {
    let text = greeting("inner").to_string();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let files = Files::start(move |_, again| {
        if failing.load(Ordering::SeqCst) {
            return b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        match again {
            true => b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec(),
            false => tagged(&text),
        }
    })
    .await;
    let (front, worker) = sites("127.0.0.1").await;
    let manifest = fetching(&worker, &files.url("/inner.yaml"));
    front.publish(&manifest).await;
    let greeted = async || {
        let (status, answer) = front.execute("outer", &["you"]).await;
        assert_eq!(status, 200, "{answer:#}\n{}", front.gateway.logs.text());
        assert_eq!(texts(&answer), ["hello you"]);
    };
    greeted().await;
    let (all, again) = files.taken();
    assert_eq!(all - again, 1, "it comes whole once");
    greeted().await;
    let (all, again) = files.taken();
    assert!(
        all > 0 && all == again,
        "then only its tag is looked at: {all}"
    );
    fails.store(true, Ordering::SeqCst);
    greeted().await;
    let logs = front.gateway.logs.text();
    assert!(logs.contains("the kept one serves on"), "{logs}");
}

#[tokio::test]
async fn a_manifest_comes_by_https_from_a_server_whose_authority_is_trusted_and_from_no_other() {
    let text = greeting("inner").to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate with its key");
    let tls = Some(TlsAcceptor::from(Arc::new(tls)));
    let files = Files::with(tls, Arc::new(move |_: &str, _: bool| ok(&text))).await;
    let url = files.url("/inner.yaml");
    let url = url.replace("http://127.0.0.1", "https://localhost");
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = folder.path().join("authorities.pem");
    std::fs::write(&trusted, made.cert.pem()).expect("written");
    let trusted = trusted.to_string_lossy();

    let worker = Site::start(&[("TIDEGATE_INLINE", "true")]).await;
    let hosts = ("TIDEGATE_MANIFEST_HOSTS", "localhost");
    let front = Site::start(&[hosts, ("SSL_CERT_FILE", &trusted)]).await;
    front.publish(&fetching(&worker, &url)).await;
    let (status, answer) = front.execute("outer", &["you"]).await;
    assert_eq!(status, 200, "{answer:#}\n{}", front.gateway.logs.text());
    let stranger = Site::start(&[hosts]).await;
    stranger.publish(&fetching(&worker, &url)).await;
    assert_refused(&stranger, &["TLS", "localhost"]).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_waited_for_five_seconds() {
    let files = Files::start(|_, _| Vec::new()).await;
    let (front, worker) = sites("127.0.0.1").await;
    front.publish(&fetching(&worker, &files.url("/"))).await;
    let began = Deadline::secs(30);
    assert_refused(&front, &["took longer than 5s"]).await;
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}
