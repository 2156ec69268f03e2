//! A well-behaved session that goes on beside the trouble, and must not feel it.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use serde_json::json;
use tidegate_tests::Gateway;

use super::ws::Ws;
use super::{audio_of, frame};

/// A packet's time is enough pressure, and leaves the machine to the trouble.
const EVERY: Duration = Duration::from_millis(20);

/// A session of `echo` that is used for as long as something else happens.
pub(crate) struct Neighbour {
    ws: Ws,
    echoes: u64,
}

impl Neighbour {
    /// Opens the session and sees one echo.
    pub(crate) async fn of(gateway: &Gateway) -> Self {
        let (ws, _) = Ws::open(
            gateway,
            "echo",
            json!({"pipeline": "echo", "mode": "waits"}),
        )
        .await;
        let mut neighbour = Self { ws, echoes: 0 };
        neighbour.round_trip().await;
        neighbour
    }

    /// Echoes on while `trouble` happens, and once more after it.
    pub(crate) async fn during<T>(&mut self, trouble: impl Future<Output = T>) -> T {
        let over = Cell::new(false);
        let trouble = async {
            let result = trouble.await;
            over.set(true);
            result
        };
        let going_on = async {
            let mut ticks = tokio::time::interval(EVERY);
            while !over.get() {
                self.round_trip().await;
                ticks.tick().await;
            }
            self.round_trip().await;
        };
        tokio::join!(trouble, going_on).0
    }

    /// # Panics
    /// If the echo is not what was sent, or does not come in time.
    async fn round_trip(&mut self) {
        self.echoes += 1;
        let data: Vec<u8> = self.echoes.to_le_bytes().repeat(80);
        self.ws.send(&frame("mic", self.echoes, &data)).await;
        let back = json!({"frame": self.ws.next_of("frame").await});
        assert_eq!(back["frame"]["seq"], self.echoes);
        assert_eq!(audio_of(&back), data, "the neighbour's own audio");
    }
}
