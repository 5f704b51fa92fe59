//! What a door allows its callers. The rule: limits are counted over all workers of a door, not by each.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    gate,
    patience::TimeLimits,
    registry::{Registry, Room},
    tally::Tally,
};
use crate::config::settings::Limits;

/// Longest request target taken: beyond it 414.
const LONGEST_TARGET: usize = 8 * 1024;

/// Memory for all unfinished heads of the process together, in bytes. The main listener has three quarters of it, each other one an
/// eighth: there are two.
const UNFINISHED_HEADS: usize = 64 << 20;

/// What a door allows its callers. Clones share the count of connections and the tally.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Bytes of a request head: beyond it 431.
    pub head: usize,
    /// Header fields of a request: beyond it 431.
    pub headers: usize,
    /// Bytes of a request target: beyond it 414.
    pub target: usize,
    /// How long a caller may keep us waiting.
    pub time: TimeLimits,
    /// The connections, shared by all workers of a door. Where there are too many, idle ones are closed.
    pub registry: Arc<Registry>,
    /// Paths that are answered even where every connection has a request in flight.
    pub essential: fn(&str) -> bool,
    /// Whether an answer ends its connection, so that callers look for another server.
    pub leaving: Arc<AtomicBool>,
    /// What is counted, shared by all workers of a door.
    pub tally: Arc<Tally>,
}

impl ListenerLimits {
    /// The limits of the configuration, with everything else as it should be. `stall` bounds the silence within a body.
    pub fn new(limits: &Limits, stall: Duration) -> Self {
        Self {
            head: limits.head,
            headers: limits.headers,
            target: LONGEST_TARGET,
            time: TimeLimits {
                idle: Duration::from_secs(75),
                head: Duration::from_secs(10),
                stall,
                leftovers: Duration::from_secs(5),
            },
            registry: Registry::new(Room {
                connections: limits.connections,
                unfinished_heads: UNFINISHED_HEADS / 4 * 3,
            }),
            essential: |_| false,
            leaving: Arc::default(),
            tally: Arc::default(),
        }
    }

    /// The same for another listener of the process, counted and limited by itself: a flooded proxy door must not shut the door
    /// that shows it.
    #[must_use]
    pub fn apart(&self, connections: usize, essential: fn(&str) -> bool) -> Self {
        let room = Room { connections, unfinished_heads: UNFINISHED_HEADS / 8 };
        Self {
            registry: self.registry.beside(room),
            essential,
            leaving: Arc::default(),
            tally: Arc::default(),
            ..self.clone()
        }
    }

    pub(super) fn gate(&self) -> gate::Limits {
        gate::Limits { head: self.head, target: self.target, fields: self.headers }
    }
}
