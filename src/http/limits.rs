//! What a door allows its callers. The rule: limits are counted over all workers of a door, not by each.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{gate, patience::TimeLimits, tally::Tally};
use crate::config::settings::Limits;

/// Longest request target taken: beyond it 414.
const LONGEST_TARGET: usize = 8 * 1024;

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
    /// Room for connections, shared by all workers of a door. Without room, new ones wait in the kernel's queue.
    pub connections: Arc<Semaphore>,
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
                leftovers: Duration::from_secs(1),
            },
            connections: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            tally: Arc::default(),
        }
    }

    pub(super) fn gate(&self) -> gate::Limits {
        gate::Limits { head: self.head, fields: self.headers }
    }
}
