//! What workers say of themselves before a session starts: ports, compatibility and references.
//!
//! Answers are kept, so that asking costs a session nothing once a pipeline is in use: an answer is taken as it is for
//! [`FRESH`], and for [`STALE`] while it is asked for anew beside the session. An endpoint that does not answer holds nobody up where
//! another one has answered: it is asked again beside the session, and what it would run is checked when a stream is opened there.
//!
//! Every Tidegate answers by gRPC at the address where it serves everything else, so hops of all transports are asked in the same way.
//! What a hop by HTTP calls may be somebody else's service, which says nothing by gRPC: it is asked once in a while, and refused nothing.
//!
//! Kept true: at most [`ENTRIES`] answers, [`ASKING`] questions at a time, and none without a limit of time.

mod patience;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tidegate_remote::{
    Connector, Described, Question, Reference, Referent, Step, Target, describe,
};
use tokio::sync::Semaphore;

use self::patience::{gather, limit};
use super::targets::{PoolTarget, sha256};
use crate::clock::Clock;
use crate::tasks::Tasks;

/// An answer is not asked for again before.
const FRESH: Duration = Duration::from_secs(10);
/// An answer is of use no longer.
const STALE: Duration = Duration::from_secs(120);
/// Answers that are kept.
const ENTRIES: usize = 4_096;
/// Questions at a time.
const ASKING: usize = 64;

/// Asks workers and keeps what they say. Clones share it.
#[derive(Clone)]
pub(crate) struct Surveyor(Arc<Inner>);

struct Inner {
    connector: Connector,
    clock: Clock,
    tasks: Tasks,
    entries: Mutex<HashMap<Key, Entry>>,
    asking: Semaphore,
}

/// Whose answer, to what: hops with other credentials may hear something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Digest of the pipeline that asks.
    asker: Arc<str>,
    hop: Arc<str>,
    tier: u32,
    endpoint: String,
    /// The pipeline's name, or `@` and a manifest's digest.
    what: Arc<str>,
}

#[derive(Debug)]
struct Entry {
    /// When it was asked last.
    at: Timestamp,
    last: Answer,
    /// What it said last, and when.
    known: Option<(Timestamp, Arc<Described>)>,
    /// It is being asked beside a session.
    refreshing: bool,
}

/// What an endpoint says.
pub(crate) type Answer = Result<Arc<Described>, Error>;

/// What the endpoints of one pool say.
#[derive(Debug)]
pub(crate) struct PoolSurvey {
    pub(crate) reference: Reference,
    /// By endpoint; those that were not heard of are left out.
    pub(crate) answers: Vec<(String, Answer)>,
    /// Digest of what ran there when one of them said something last, however long ago; empty if none ever did.
    pub(crate) digest: String,
}

impl PoolSurvey {
    /// The first endpoint's that says something.
    pub(crate) fn described(&self) -> Option<&Arc<Described>> {
        self.answers
            .iter()
            .find_map(|(_, answer)| answer.as_ref().ok())
    }

    /// The circle that an endpoint has found.
    pub(crate) fn circle(&self) -> Option<&Error> {
        let mut errors = self
            .answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err());
        errors.find(|error| error.code == Code::ManifestCycle)
    }

    /// The reference with what was found.
    pub(crate) fn into_reference(self) -> Reference {
        let found = self.answers.into_iter().map(|(endpoint, answer)| {
            let endpoint = tidegate_remote::describe::shown(&endpoint);
            match answer {
                Ok(described) => Referent {
                    endpoint,
                    gateway_id: described.gateway_id.clone(),
                    pipeline: described.pipeline.clone(),
                    digest: described.digest.clone(),
                    references: described.references.clone(),
                    problem: String::new(),
                },
                Err(error) => Referent {
                    endpoint,
                    problem: format!("{}: {}", error.code, error.message),
                    ..Referent::default()
                },
            }
        });
        Reference {
            found: found.collect(),
            ..self.reference
        }
    }
}

/// What is known of an endpoint before it is asked.
enum Known {
    Good(Arc<Described>),
    Bad(Error),
    Nothing,
}

impl Surveyor {
    pub(crate) fn new(connector: Connector, clock: Clock, tasks: Tasks) -> Self {
        Self(Arc::new(Inner {
            connector,
            clock,
            tasks,
            entries: Mutex::default(),
            asking: Semaphore::new(ASKING),
        }))
    }

    /// What the endpoints of a pool say. `path` ends with the pipeline that asks; a gateway that was asked itself, whose path is
    /// longer, waits for less. Cancel safe.
    pub(crate) async fn pool(&self, asker: &str, pool: PoolTarget, path: &[Step]) -> PoolSurvey {
        let silent = pool.foreign || pool.target == Target::Endpoint;
        if silent || pool.is_foreign() && pool.has_paths() {
            return PoolSurvey {
                reference: pool.reference,
                answers: Vec::new(),
                digest: String::new(),
            };
        }
        let (asker, hop) = (Arc::from(asker), Arc::from(pool.reference.hop.as_str()));
        let what = Arc::from(named(&pool.target));
        let key = |endpoint: &String| Key {
            asker: Arc::clone(&asker),
            hop: Arc::clone(&hop),
            tier: pool.reference.tier,
            endpoint: endpoint.clone(),
            what: Arc::clone(&what),
        };
        let keys: Vec<_> = pool.endpoints.iter().map(key).collect();
        let known: Vec<_> = keys.iter().map(|key| self.known(key)).collect();
        let any = known
            .iter()
            .any(|(known, _)| matches!(known, Known::Good(_)));
        let mut answers: Vec<Option<Answer>> = Vec::new();
        let asked = FuturesUnordered::new();
        for (index, (known, due)) in known.into_iter().enumerate() {
            let (answer, ask) = match known {
                Known::Good(described) => (Some(Ok(described)), false),
                // Where somebody else has answered, or may have nothing to say, nobody waits for it a second time.
                Known::Bad(error)
                    if any || pool.is_foreign() || error.code == Code::ManifestCycle && !due =>
                {
                    (Some(Err(error)), false)
                }
                Known::Bad(_) | Known::Nothing => (None, true),
            };
            answers.push(answer);
            let key = keys[index].clone();
            if ask {
                let asking = self.ask(key, &pool, path, limit(&pool, path));
                asked.push(async move { (index, asking.await) });
            } else if due {
                self.refresh(key, &pool, path);
            }
        }
        gather(asked, &mut answers, any, path).await;
        let digest = keys.iter().find_map(|key| self.digest(key));
        let answers = pool.endpoints.iter().cloned().zip(answers).zip(keys);
        let answers = answers.filter_map(|((endpoint, answer), key)| {
            let Some(answer) = answer else {
                self.unheard(key);
                return None;
            };
            Some((endpoint, answer))
        });
        PoolSurvey {
            answers: answers.collect(),
            reference: pool.reference,
            digest: digest.unwrap_or_default(),
        }
    }

    /// Digest of what an endpoint said last, however long ago: answers that were kept of it are those of that pipeline, also when the
    /// endpoint has been away for long.
    fn digest(&self, key: &Key) -> Option<String> {
        let entries = self.entries();
        let (_, described) = entries.get(key)?.known.as_ref()?;
        Some(described.digest.clone())
    }

    /// What is kept of an endpoint, and whether it is to be asked beside the session; then the caller does so.
    fn known(&self, key: &Key) -> (Known, bool) {
        let now = self.0.clock.now();
        let mut entries = self
            .0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(key) else {
            return (Known::Nothing, false);
        };
        let due = now - entry.at >= FRESH && !entry.refreshing;
        let known = entry.known.as_ref().filter(|(at, _)| now - *at < STALE);
        match (known, &entry.last) {
            // What it said before counts on while it cannot be reached; what it says now counts more.
            (Some((_, described)), Ok(_)) => (Known::Good(Arc::clone(described)), due),
            (Some((_, described)), Err(error)) if is_passing(error) => {
                (Known::Good(Arc::clone(described)), due)
            }
            (_, Err(error)) => (Known::Bad(error.clone()), due),
            (None, Ok(_)) => (Known::Nothing, false),
        }
    }

    /// Asks beside the session.
    fn refresh(&self, key: Key, pool: &PoolTarget, path: &[Step]) {
        if let Some(entry) = self.entries().get_mut(&key) {
            entry.refreshing = true;
        }
        let (this, pool, path) = (self.clone(), pool.clone(), path.to_vec());
        // The task ends with the question, which has a limit.
        drop(self.0.tasks.spawn(async move {
            let limit = limit(&pool, &path);
            drop(this.ask(key, &pool, &path, limit).await);
        }));
    }

    /// Asks, and keeps what comes of it.
    async fn ask(&self, key: Key, pool: &PoolTarget, path: &[Step], limit: Duration) -> Answer {
        let question = Question {
            endpoint: &key.endpoint,
            auth: &pool.auth,
            target: &pool.target,
            path,
            limit,
        };
        let asking = async {
            let _room = self.0.asking.acquire().await;
            describe(&self.0.connector, question).await
        };
        let answer = tokio::time::timeout(limit, asking).await;
        let answer = answer
            .unwrap_or_else(|_| Err(busy(&key.endpoint)))
            .map(Arc::new);
        // How deep it is depends on who asks.
        let of_path = matches!(&answer, Err(error) if error.code == Code::ManifestCycle);
        if !of_path || path.len() == 1 {
            self.keep(key.clone(), answer.clone());
        }
        answer
    }

    /// Nothing came in the time that others were waited for.
    fn unheard(&self, key: Key) {
        let error = busy(&key.endpoint);
        self.keep(key, Err(error));
    }

    fn keep(&self, key: Key, answer: Answer) {
        let now = self.0.clock.now();
        let mut entries = self.entries();
        if entries.len() >= ENTRIES && !entries.contains_key(&key) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        let before = entries.remove(&key).and_then(|entry| entry.known);
        let known = answer.as_ref().ok().map(|d| (now, Arc::clone(d)));
        entries.insert(
            key,
            Entry {
                at: now,
                known: known.or(before),
                last: answer,
                refreshing: false,
            },
        );
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says nothing of what runs there.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(
        error.code,
        Code::Network
            | Code::Timeout
            | Code::Overloaded
            | Code::RateLimited
            | Code::Draining
            | Code::Internal
            | Code::RemoteExecution
    )
}

/// A name for what is asked about. A manifest's is the digest of its text as it is sent: what stands for it, not what it means.
fn named(target: &Target) -> String {
    match target {
        Target::Pipeline(name) => name.clone(),
        Target::Manifest(text) => format!("@{}", sha256(text.as_bytes())),
        Target::Endpoint => String::new(),
    }
}

fn busy(endpoint: &str) -> Error {
    Error::new(
        Code::Network,
        "the endpoint did not say in time what it runs",
    )
    .at_endpoint(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ran_at_an_endpoint_is_known_though_it_has_been_away_for_long() {
        let clock = Clock::standing();
        let at = |seconds| {
            crate::clock::standing::set(Some(Timestamp::ZERO + Duration::from_secs(seconds)))
        };
        at(1);
        let surveyor = Surveyor::new(
            Connector::new(tidegate_remote::ConnectorConfig::default()),
            clock,
            Tasks::default(),
        );
        let key = Key {
            asker: "a".into(),
            hop: "h".into(),
            tier: 0,
            endpoint: "http://w:1".to_owned(),
            what: "p".into(),
        };
        assert_eq!(surveyor.digest(&key), None);
        let described = Described {
            digest: "d".to_owned(),
            ..Described::default()
        };
        surveyor.keep(key.clone(), Ok(Arc::new(described)));
        at(600);
        surveyor.keep(key.clone(), Err(busy(&key.endpoint)));
        assert!(
            matches!(surveyor.known(&key).0, Known::Bad(_)),
            "of no use for ports"
        );
        assert_eq!(
            surveyor.digest(&key).as_deref(),
            Some("d"),
            "its kept answers are those of this pipeline"
        );
        crate::clock::standing::set(None);
    }
}
