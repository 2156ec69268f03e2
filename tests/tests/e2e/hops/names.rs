//! The edge cases of names: one that has several addresses, and one whose addresses change.
//!
//! The gateway asks the system, as always; what the system says is the test's own hosts file, which lies over the machine's in a
//! mount namespace of that one process. That is what `--add-host` and `hostAliases` do for containers. What is proven goes
//! through the system's resolver and real connections; that a name server's answers come the same way is the C library's affair.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::json;
use tidegate_tests::gateway::binary;
use tidegate_tests::{Deadline, Gateway, fixtures};
use tokio::process::Command;

use super::{Server, hop, say, utterance};

const NAME: &str = "workers.test";

/// Workers that say which they are, on one port of several addresses of this machine.
async fn workers<const N: usize>(words: [&str; N]) -> [Worker; N] {
    let mut port = 0;
    let mut workers = Vec::new();
    for (word, last) in words.into_iter().zip(2..) {
        let worker = Worker::start(word, SocketAddr::from(([127, 0, 0, last], port))).await;
        port = worker.gateway.address.port();
        workers.push(worker);
    }
    workers
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many as words"))
}

struct Worker {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Worker {
    async fn start(word: &str, address: SocketAddr) -> Self {
        let folder = folder(&say(word));
        let mut command = Command::new(binary());
        command
            .args(["serve", "--media", "127.0.0.1:0", "--listen"])
            .arg(address.to_string())
            .arg("--pipelines")
            .arg(folder.path())
            .env("TIDEGATE_HOSTS", NAME)
            .current_dir(fixtures::root());
        Self {
            gateway: Gateway::spawn(command).await,
            _folder: folder,
        }
    }
}

fn folder(manifest: &serde_json::Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for manifests");
    let file = folder.path().join("only.yaml");
    std::fs::write(file, manifest.to_string()).expect("the manifest is written");
    folder
}

/// A gateway with a hop to a name, and the file that says what the name stands for.
struct Named {
    server: Server,
    hosts: tempfile::NamedTempFile,
    endpoint: String,
}

impl Named {
    async fn start(workers: &[&Worker]) -> Self {
        let port = workers[0].gateway.address.port();
        let endpoint = format!("http://{NAME}:{port}");
        let hosts = tempfile::NamedTempFile::new().expect("a file");
        point(hosts.path(), workers);
        let folder = folder(&hop(
            "hop",
            json!({"endpoints": [endpoint], "health": "off"}),
        ));
        let mut command = Command::new("unshare");
        // Only root makes such a namespace as itself; others become root of a namespace of their own first.
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(hosts.path())
            .arg(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .arg("--pipelines")
            .arg(folder.path())
            .current_dir(fixtures::root());
        let gateway = Gateway::spawn(command).await;
        let server = Server { gateway, folder };
        Self {
            server,
            hosts,
            endpoint,
        }
    }

    /// The name stands for these from now on.
    fn point(&self, workers: &[&Worker]) {
        point(self.hosts.path(), workers);
    }

    async fn call(&self) -> String {
        let said = self.server.call(&["one"]).await;
        let said = said
            .unwrap_or_else(|problem| panic!("{problem:#}\n{}", self.server.gateway.logs.text()));
        said.concat().trim_end_matches(" one").to_owned()
    }

    /// Waits until calls are answered by these in turn, whoever is the first, and twice round.
    async fn turns(&self, by: Deadline, expected: &[&str]) {
        let turns = by.until(|| async {
            let mut said = Vec::new();
            for _ in 0..expected.len() * 2 {
                said.push(self.call().await);
            }
            let first = expected.iter().position(|word| *word == said[0])?;
            let round = expected.iter().cycle().skip(first);
            said.iter()
                .zip(round)
                .all(|(said, word)| said == word)
                .then_some(())
        });
        let logs = &self.server.gateway.logs;
        assert!(turns.await.is_some(), "never {expected:?}\n{}", logs.text());
    }
}

/// Writes in place: the mounted file is this one.
fn point(file: &Path, workers: &[&Worker]) {
    let mut text = "127.0.0.1 localhost\n".to_owned();
    for worker in workers {
        writeln!(text, "{} {NAME}", worker.gateway.address.ip()).expect("a string takes text");
    }
    std::fs::write(file, text).expect("the hosts file is written");
}

#[tokio::test]
async fn edge_the_addresses_of_one_name_are_endpoints_of_their_own_and_told_of_as_one() {
    let [mut a, b, c] = workers(["a", "b", "c"]).await;
    let front = Named::start(&[&a, &b, &c]).await;
    front.turns(Deadline::secs(30), &["a", "b", "c"]).await;
    a.gateway.kill().await;
    for _ in 0..12 {
        assert_ne!(front.call().await, "a");
    }
    // The dead one is left alone, while its name is not.
    front.turns(Deadline::secs(30), &["b", "c"]).await;
    let (name, endpoint) = ("tidegate_endpoint_up", front.endpoint.as_str());
    let page = front.server.gateway.metrics().await;
    let told: Vec<_> = page.lines().filter(|line| line.starts_with(name)).collect();
    assert_eq!(told.len(), 1, "{page}");
    assert_eq!(front.server.metric(name, endpoint, "").await, 1.0, "{page}");
    assert!(
        front.server.attempts(endpoint, "network").await >= 1.0,
        "{page}"
    );
}

#[tokio::test]
async fn edge_a_server_that_moved_to_another_address_is_found_there_and_no_call_is_lost() {
    let [mut old, new] = workers(["old", "new"]).await;
    let front = Named::start(&[&old]).await;
    front.turns(Deadline::secs(30), &["old"]).await;
    old.gateway.kill().await;
    front.point(&[&new]);
    // The connection that fails makes the name be asked again, long before its time.
    let began = Deadline::secs(30);
    assert_eq!(front.call().await, "new");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    front.turns(began, &["new"]).await;
}

#[tokio::test]
async fn edge_addresses_that_change_under_a_stream_let_it_end_where_it_is_and_take_what_is_new() {
    let [old, new] = workers(["old", "new"]).await;
    let front = Named::start(&[&old]).await;
    let mut client = front.server.open().await;
    let mut seq = 0;
    let mut say = async |client: &mut tidegate_tests::Ws| {
        seq += 1;
        client.send("frame", utterance(seq, "word")).await;
        client.until("frame").await["text"]["text"].clone()
    };
    assert_eq!(say(&mut client).await, "old word");
    front.point(&[&new]);
    // Names are asked again each half minute while they are in use.
    // Names are asked again each half minute while they are in use.
    let by = Deadline::secs(90);
    while front.call().await != "new" {
        let logs = &front.server.gateway.logs;
        assert!(!by.left().is_zero(), "{}", logs.text());
        assert_eq!(say(&mut client).await, "old word");
    }
    for _ in 0..5 {
        assert_eq!(front.call().await, "new");
        assert_eq!(say(&mut client).await, "old word", "it stands where it was");
    }
    let failovers = "tidegate_hop_failovers_total";
    assert_eq!(
        front.server.metric(failovers, &front.endpoint, "").await,
        0.0
    );
    client.send("end", json!({})).await;
    assert_eq!(client.until("ended").await["reason"], "finished");
    front.turns(Deadline::secs(30), &["new"]).await;
}
