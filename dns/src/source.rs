//! Where the server takes the zone from. One trait with one method, so that the server is the same
//! under a real platform, a fixed zone and a test.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;

use crate::zone::Zone;

/// Gives the zone as it is now.
pub trait ZoneSource: Send + Sync + fmt::Debug {
    /// The present zone. Called once for each query; must not wait.
    fn zone(&self) -> Arc<Zone>;
}

/// The zone was not published because it is older than the one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("generation {offered} of the zone is older than the one served, {served}")]
pub struct StaleZone {
    /// The generation offered.
    pub offered: u64,
    /// The generation that stays.
    pub served: u64,
}

/// A zone that can be replaced while it is being served.
#[derive(Debug)]
pub struct SharedZone {
    zone: ArcSwap<Zone>,
}

impl SharedZone {
    /// Starts with a zone.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self {
            zone: ArcSwap::from_pointee(zone),
        }
    }

    /// Replaces the zone. Queries that are being answered keep the one they have. The same
    /// generation again is taken: whether a core is alive changes the zone without being a change
    /// of the platform store.
    ///
    /// # Errors
    /// [`StaleZone`] when the zone served is newer; it stays.
    pub fn publish(&self, zone: Arc<Zone>) -> Result<(), StaleZone> {
        let offered = zone.generation();
        let before = self.zone.rcu(|served| {
            if offered < served.generation() {
                Arc::clone(served)
            } else {
                Arc::clone(&zone)
            }
        });
        let served = before.generation();
        if offered < served {
            Err(StaleZone { offered, served })
        } else {
            Ok(())
        }
    }
}

impl ZoneSource for SharedZone {
    fn zone(&self) -> Arc<Zone> {
        self.zone.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::ZoneFacts;

    fn zone(generation: u64) -> Zone {
        let facts = ZoneFacts {
            generation,
            ..ZoneFacts::new("example.com")
        };
        Zone::build(&facts, Arc::new(())).unwrap()
    }

    #[test]
    fn a_zone_is_never_replaced_by_an_older_one() {
        let shared = SharedZone::new(zone(5));
        assert_eq!(
            shared.publish(Arc::new(zone(4))),
            Err(StaleZone {
                offered: 4,
                served: 5
            })
        );
        assert_eq!(shared.zone().generation(), 5);
        assert_eq!(shared.publish(Arc::new(zone(5))), Ok(()));
        assert_eq!(shared.publish(Arc::new(zone(9))), Ok(()));
        assert_eq!(shared.zone().generation(), 9);
    }

    #[test]
    fn writers_at_once_leave_the_newest() {
        let shared = SharedZone::new(zone(0));
        let zones: Vec<_> = (1..=64).map(|g| Arc::new(zone(g))).collect();
        // Losing to a newer one is what this test is about.
        let publish = |zone: &Arc<Zone>| match shared.publish(Arc::clone(zone)) {
            Ok(()) => {}
            Err(stale) => assert!(stale.offered < stale.served),
        };
        std::thread::scope(|scope| {
            for part in zones.chunks(16) {
                scope.spawn(move || part.iter().for_each(publish));
            }
        });
        assert_eq!(shared.zone().generation(), 64);
    }
}
