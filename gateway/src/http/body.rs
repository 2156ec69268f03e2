//! Request bodies that are read whole, within bounds of size, time and memory.
//!
//! A session's slot is taken only once a request has been understood, so that what is read before has bounds of its own: all bodies
//! under way share so many bytes, and each has so much time. Absent: what bodies mean.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use tidegate_nodes::{Code, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest bodies that may be read at the same time; of smaller ones accordingly more.
const LARGEST: usize = 16;
/// Time for a whole body: of the largest one, some megabits a second.
const TIME: Duration = Duration::from_secs(60);
/// Bytes of one permit.
const UNIT: usize = 1 << 10;

/// Room for the bodies of all requests.
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    limit: usize,
    time: Duration,
}

/// A body that was read. Its room is free again when this is dropped.
pub(crate) struct Gathered {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Bodies {
    /// Room for bodies of at most `limit` bytes each.
    pub(crate) fn new(limit: usize) -> Self {
        let units = units(limit).saturating_mul(LARGEST);
        Self {
            room: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            limit,
            time: TIME,
        }
    }

    /// Reads a body to its end. One that does not say its length counts as the largest. Cancel safe: what was read is forgotten.
    ///
    /// # Errors
    /// It is larger than the limit, comes too slowly or breaks off, or there is no room for it now.
    pub(crate) async fn gather(&self, headers: &HeaderMap, body: Body) -> Result<Gathered, Error> {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let length = length.unwrap_or(self.limit);
        let room = self.reserve(length)?;
        let read = tokio::time::timeout(self.time, to_bytes(body, self.limit)).await;
        match read {
            Ok(Ok(bytes)) => Ok(Gathered { bytes, _room: room }),
            Ok(Err(error)) if is_too_large(&error) => Err(self.too_large()),
            Ok(Err(error)) => {
                let text = format!("the body cannot be read: {error}");
                Err(Error::new(Code::BadRequest, text))
            }
            Err(_) => {
                let text = format!(
                    "the body did not come within {} s: send it faster, or stream it",
                    self.time.as_secs()
                );
                Err(Error::new(Code::BadRequest, text))
            }
        }
    }

    /// Room for a body that is read by other means, until the permit is dropped.
    ///
    /// # Errors
    /// It is larger than the limit, or there is no room for it now.
    pub(crate) fn reserve(&self, length: usize) -> Result<OwnedSemaphorePermit, Error> {
        if length > self.limit {
            return Err(self.too_large());
        }
        let room = u32::try_from(units(length)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(room);
        room.map_err(|_| {
            let text = "too many request bodies are being read; try again later";
            Error::new(Code::Overloaded, text)
        })
    }

    /// Time that a whole body has.
    pub(crate) const fn patience(&self) -> Duration {
        self.time
    }

    fn too_large(&self) -> Error {
        let text = format!(
            "the body has more than {} bytes: send less, or stream it",
            self.limit
        );
        Error::new(Code::TooLarge, text)
    }
}

/// Permits for so many bytes; an empty body needs some memory too.
const fn units(bytes: usize) -> usize {
    bytes / UNIT + 1
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(length: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_LENGTH,
            http::HeaderValue::from_static(length),
        );
        headers
    }

    /// A body of which nothing comes.
    fn silent() -> Body {
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_and_gives_its_room_back() {
        let bodies = Bodies::new(10 * UNIT);
        let before = bodies.room.available_permits();
        let refused = bodies.gather(&said("9"), silent()).await;
        assert_eq!(
            refused.err().map(|error| error.code),
            Some(Code::BadRequest)
        );
        assert_eq!(bodies.room.available_permits(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_say_no_length_take_the_room_of_the_largest() {
        let bodies = Bodies::new(10 * UNIT);
        let unsaid = HeaderMap::new();
        let mut waiting: Vec<_> = (0..LARGEST)
            .map(|_| Box::pin(bodies.gather(&unsaid, silent())))
            .collect();
        for body in &mut waiting {
            assert!(futures_util::poll!(body).is_pending());
        }
        let refused = bodies.gather(&said("1"), Body::from("x")).await;
        assert_eq!(
            refused.err().map(|error| error.code),
            Some(Code::Overloaded)
        );
        waiting.pop();
        let read = bodies.gather(&said("1"), Body::from("x")).await;
        assert_eq!(read.ok().map(|body| body.bytes), Some(Bytes::from("x")));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
        let bodies = Bodies::new(4);
        for headers in [said("5"), HeaderMap::new()] {
            let refused = bodies.gather(&headers, Body::from("12345")).await;
            assert_eq!(refused.err().map(|error| error.code), Some(Code::TooLarge));
        }
    }
}
