//! Two servers that reach each other by call. What they send is verified as it would be on the wire.

mod link;
mod side;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth_storage::driver::Engine;
use hearth_storage::testing::{On, Scratch};
use hearth_types::ruma::RoomId;

use self::link::{Far, Wire};
pub(super) use self::link::{key, verified};
pub(super) use self::side::{Side, id};
use crate::context::Settings;
use crate::memory::MemoryBudget;
use crate::testing::settings;

/// `one.test` and `two.test`.
pub(super) struct Pair {
    pub(super) one: Side,
    pub(super) two: Side,
    wire: Arc<Wire>,
    /// How `two` reaches `one`.
    to_one: Far,
    /// How `one` reaches `two`.
    to_two: Far,
    scratches: [Scratch; 2],
}

impl Pair {
    pub(super) async fn new(first: Scratch) -> Self {
        Self::with(first, settings()).await
    }

    /// Two servers whose caches may take so much.
    pub(super) async fn within(first: Scratch, memory: MemoryBudget) -> Self {
        let settings = Settings {
            memory,
            ..settings()
        };
        Self::with(first, settings).await
    }

    /// Two servers with settings of their own.
    pub(super) async fn with(first: Scratch, settings: Settings) -> Self {
        let on = match first.options().connect_to {
            Engine::Sqlite(_) => On::Sqlite,
            Engine::Postgres(_) => On::Postgres,
        };
        let scratches = [first, Scratch::new(on).await];
        let wire = Arc::new(Wire::default());
        let (to_one, to_two) = (Far::default(), Far::default());
        let one = Side::new(
            "one.test",
            &scratches[0],
            (&to_two, &wire),
            settings.clone(),
        )
        .await;
        let two = Side::new("two.test", &scratches[1], (&to_one, &wire), settings).await;
        *to_one.lock().unwrap() = Some(one.federation.clone());
        *to_two.lock().unwrap() = Some(two.federation.clone());
        Self {
            one,
            two,
            wire,
            to_one,
            to_two,
            scratches,
        }
    }

    /// Starts `one` again, once it has nothing to do.
    pub(super) async fn restart_one(&mut self) {
        self.one.settle().await;
        self.one.restart();
        *self.to_one.lock().unwrap() = Some(self.one.federation.clone());
    }

    /// Cuts the wire, or mends it.
    pub(super) fn cut(&self, cut: bool) {
        self.wire.cut.store(cut, Ordering::Relaxed);
    }

    /// Makes both answer joins without handing anything over, or in full again.
    pub(super) fn withhold(&self, withholds: bool) {
        self.wire.withholds.store(withholds, Ordering::Relaxed);
    }

    /// Carries what both have sent since the last time, until neither has anything.
    pub(super) async fn deliver(&self) {
        loop {
            let (from_one, from_two) = (self.one.outbound().await, self.two.outbound().await);
            if from_one.is_empty() && from_two.is_empty() {
                return;
            }
            self.two.take(self.one.name(), from_one).await;
            self.one.take(self.two.name(), from_two).await;
        }
    }

    /// Loses what both have sent since the last time.
    pub(super) async fn lose(&self) {
        drop((self.one.outbound().await, self.two.outbound().await));
    }

    /// What is stored of both keeps to every invariant.
    pub(super) async fn assert_sound(&self) {
        for (side, scratch) in [&self.one, &self.two].into_iter().zip(&self.scratches) {
            side.settle().await;
            scratch.assert_sound().await;
        }
    }

    pub(super) async fn assert_same_state(&self, room_id: &RoomId) {
        assert_eq!(self.one.state(room_id).await, self.two.state(room_id).await);
    }
}

/// Each is reached by the other: together they would outlive their test, database connections
/// included.
impl Drop for Pair {
    fn drop(&mut self) {
        for far in [&self.to_one, &self.to_two] {
            far.lock().unwrap().take();
        }
    }
}
