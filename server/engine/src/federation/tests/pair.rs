//! Two servers that reach each other by call. What they send is verified as it would be on the wire.

mod link;
mod side;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use hearth_storage::driver::Engine;
use hearth_storage::testing::{On, Scratch};
use hearth_types::ruma::RoomId;

use self::link::Wire;
pub(super) use self::side::{Side, id};

/// `one.test` and `two.test`.
pub(super) struct Pair {
    pub(super) one: Side,
    pub(super) two: Side,
    wire: Arc<Wire>,
    _scratches: [Scratch; 2],
}

impl Pair {
    pub(super) async fn new(first: Scratch) -> Self {
        let on = match first.options().connect_to {
            Engine::Sqlite(_) => On::Sqlite,
            Engine::Postgres(_) => On::Postgres,
        };
        let scratches = [first, Scratch::new(on).await];
        let wire = Arc::new(Wire::default());
        let links = [Arc::new(OnceLock::new()), Arc::new(OnceLock::new())];
        let one = Side::new("one.test", &scratches[0], &links[1], &wire).await;
        let two = Side::new("two.test", &scratches[1], &links[0], &wire).await;
        assert!(links[0].set(one.federation.clone()).is_ok());
        assert!(links[1].set(two.federation.clone()).is_ok());
        Self {
            one,
            two,
            wire,
            _scratches: scratches,
        }
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

    pub(super) async fn assert_same_state(&self, room_id: &RoomId) {
        assert_eq!(self.one.state(room_id).await, self.two.state(room_id).await);
    }
}
