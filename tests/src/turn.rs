//! Who runs beside whom. Tests with live sound have the machine to themselves, or a test that
//! opens a thousand sessions beside them would be heard as gaps; all others run together.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tokio::sync::{Semaphore, SemaphorePermit};

/// More tests than this never run together.
const ALL: u32 = 64;

static PLACES: Semaphore = Semaphore::const_new(ALL as usize);

thread_local! {
    /// The turn of the test on this thread. Each test has a thread of its own, or comes after
    /// another on the same one; a second gateway of a test must not queue behind its first.
    static MINE: RefCell<Weak<Turn>> = const { RefCell::new(Weak::new()) };
}

/// The right to run, until the last clone is dropped.
#[derive(Debug)]
pub struct Turn {
    _places: SemaphorePermit<'static>,
}

/// Waits until no test runs that wants to be alone.
pub async fn together() -> Arc<Turn> {
    take(1).await
}

/// Waits until no other test runs.
pub async fn alone() -> Arc<Turn> {
    take(ALL).await
}

async fn take(places: u32) -> Arc<Turn> {
    if let Some(turn) = MINE.with_borrow(Weak::upgrade) {
        return turn;
    }
    let places = PLACES
        .acquire_many(places)
        .await
        .expect("the places are never closed");
    let turn = Arc::new(Turn { _places: places });
    MINE.set(Arc::downgrade(&turn));
    turn
}
