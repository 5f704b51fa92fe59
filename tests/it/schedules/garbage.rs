//! When the cache frees what it lets go. The one rule: at once, or a schedule would depend on what other threads do: moka
//! leaves it to an epoch-based collector that all threads share, and that frees things in the order they came from a thread.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use moka::sync::Cache;

/// Tells when it is freed.
#[derive(Clone)]
struct Mark(#[allow(dead_code, reason = "it is there to be dropped")] Arc<Telltale>);

struct Telltale(Arc<AtomicBool>);

impl Drop for Telltale {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

thread_local! {
    static MARKS: Cache<u8, Mark> = Cache::new(4);
}

/// Returns when everything that this thread's caches have let go is freed: what is let go now goes after it.
pub(super) fn collect() {
    let is_freed = Arc::new(AtomicBool::new(false));
    let mut first = Some(Mark(Arc::new(Telltale(is_freed.clone()))));
    MARKS.with(|marks| {
        while !is_freed.load(Relaxed) {
            let mark = first.take().unwrap_or_else(|| Mark(Arc::new(Telltale(Arc::default()))));
            marks.insert(0, mark);
            marks.invalidate(&0);
            marks.run_pending_tasks();
            std::thread::yield_now();
        }
    });
}
