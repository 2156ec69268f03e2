//! A worker by HTTP calls that a test tells how to answer, and that counts who asked: for shares, breakers and checks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_tests::Deadline;
use tidegate_tests::clock::now;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Server;

/// How calls are answered. Checks (`GET`) are answered as fast, by 200 unless `well` is false.
#[derive(Debug)]
pub(crate) struct Told {
    /// Time before an answer. Who waits already hears of a change.
    delay: watch::Sender<Duration>,
    /// Of so many calls the last fails; 0: none, 1: all.
    pub(crate) fails: AtomicU64,
    pub(crate) well: AtomicBool,
    /// Calls so far.
    pub(crate) calls: AtomicU64,
    /// When each came.
    pub(crate) came: Mutex<Vec<Instant>>,
    /// Checks so far.
    pub(crate) checks: AtomicU64,
    /// Calls that run, and the most that ever did at once.
    running: AtomicU64,
    pub(crate) most: AtomicU64,
}

/// Such a worker. It ends when this is dropped.
pub(crate) struct Calls {
    address: SocketAddr,
    pub(crate) told: Arc<Told>,
    _tasks: JoinSet<()>,
}

impl Calls {
    /// One that says this word before nothing: the texts that came are of no interest.
    pub(crate) async fn start(word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let told = Arc::new(Told {
            delay: watch::Sender::new(Duration::ZERO),
            fails: AtomicU64::new(0),
            well: AtomicBool::new(true),
            calls: AtomicU64::new(0),
            came: Mutex::default(),
            checks: AtomicU64::new(0),
            running: AtomicU64::new(0),
            most: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&told);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let told = Arc::clone(&shared);
                connections.spawn(async move { serve(stream, &told, word).await });
            }
        });
        Self {
            address,
            told,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn fail(&self, each: u64) {
        self.told.fails.store(each, Ordering::SeqCst);
    }

    pub(crate) fn delay(&self, by: Duration) {
        self.told.delay.send_replace(by);
    }

    /// Calls that have not been answered yet.
    pub(crate) fn running(&self) -> u64 {
        self.told.running.load(Ordering::SeqCst)
    }

    /// Time from each call to the next.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let came = self.told.came.lock().expect("not poisoned");
        came.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Calls since the last time that this was asked.
    pub(crate) fn taken(&self) -> u64 {
        self.told.calls.swap(0, Ordering::SeqCst)
    }
}

/// One connection, request after request.
async fn serve(stream: TcpStream, told: &Told, word: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut post, mut length, mut line) = (None, 0, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            // Whoever asks by HTTP/2 whether a gateway is here learns that there is none.
            if line.starts_with("PRI ") {
                return None;
            }
            post.get_or_insert(line.starts_with("POST"));
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let (status, text) = if post? {
            told.call(word).await
        } else {
            told.check().await
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

impl Told {
    async fn wait(&self) {
        let mut told = self.delay.subscribe();
        let began = Deadline::secs(0);
        loop {
            let left = told.borrow_and_update().saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            // A slow server is slow, until it is told to be faster.
            tokio::time::timeout(left, told.changed()).await.ok();
        }
    }

    async fn call(&self, word: &str) -> (&'static str, String) {
        self.came.lock().expect("not poisoned").push(now());
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.wait().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let fails = self.fails.load(Ordering::SeqCst);
        if fails > 0 && number.is_multiple_of(fails) {
            return ("503 Service Unavailable", "{}".to_owned());
        }
        let answer = format!(r#"{{"outputs":{{"out":[{{"text":{{"text":"{word}"}}}}]}}}}"#);
        ("200 OK", answer)
    }

    async fn check(&self) -> (&'static str, String) {
        self.checks.fetch_add(1, Ordering::SeqCst);
        self.wait().await;
        match self.well.load(Ordering::SeqCst) {
            true => ("200 OK", String::new()),
            false => ("503 Service Unavailable", String::new()),
        }
    }
}

/// For as long as a test wants.
pub(crate) const HELD: Duration = Duration::from_secs(3_600);

/// So many calls, one after another, each of which succeeds.
pub(crate) async fn served(front: &Server, count: usize) {
    for _ in 0..count {
        let said = front.call(&["one"]).await;
        assert!(said.is_ok(), "{said:?}\n{}", front.gateway.logs.text());
    }
}
