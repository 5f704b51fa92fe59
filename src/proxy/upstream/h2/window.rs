//! How much of an answer may come before its caller reads it. The one rule: a large window is earned by callers who read, and
//! shared by all streams of a connection, so that a crowd who do not read holds little.
//!
//! A small window would do if all upstreams were near: it bounds the speed of an answer to one window for each round trip,
//! 1.3 MB/s at 50 ms for the smallest. So the window doubles (SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113 §6.9.2) when a caller
//! has read a few windows and waits for more; and it is the smallest again, for all, as soon as the streams in use
//! would together be allowed more than their common part.

/// Bytes of an answer that a stream holds at first for a caller who does not read. In memory they take up to 1.6 times as
/// much, since frames do not fill the buffers in which they arrive; with the buffers of the caller's own connection that stays
/// below 256 KiB.
pub(super) const SMALLEST: u32 = 64 << 10;
/// Most bytes for one stream: 40 MB/s at 50 ms.
const LARGEST: u32 = 2 << 20;
/// Most bytes for all streams in use together, while the window is larger than the smallest.
const SHARED: u64 = 4 << 20;
/// So many windows a caller must have read before it is larger.
const PROOF: u64 = 2;
/// Room for all streams at once. Were it less, a few callers who stop reading would use it up and hold up the answers of
/// every account (RFC 9113 §5.2.2). With the windows that streams may have kept from before the others came, 256 of them
/// hold 31 MiB at most.
pub(super) const CONNECTION_WINDOW: u32 = 32 << 20;

/// The window of every stream of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window(u32);

impl Default for Window {
    fn default() -> Self {
        Self(SMALLEST)
    }
}

impl Window {
    pub(super) fn bytes(self) -> u32 {
        self.0
    }

    /// The next larger one, if one who has read so much deserves it and so many streams may have it.
    pub(super) fn larger(self, read: u64, streams: usize) -> Option<Self> {
        let larger = Self(self.0 * 2);
        (read >= PROOF * u64::from(self.0) && larger.0 <= LARGEST && larger.suits(streams)).then_some(larger)
    }

    /// Whether so many streams may have it.
    pub(super) fn suits(self, streams: usize) -> bool {
        self.0 == SMALLEST || u64::from(self.0) * streams as u64 <= SHARED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_earned_by_reading_and_fits_the_streams_in_use() {
        let (mut window, mut read) = (Window::default(), 0);
        while let Some(larger) = window.larger(u64::from(window.bytes()) * PROOF, 2) {
            read += u64::from(window.bytes()) * PROOF;
            window = larger;
        }
        assert_eq!(window.bytes(), LARGEST);
        assert!(read < 10 << 20, "{read} bytes to the largest window");
        assert!(window.suits(2) && !window.suits(3));
        assert_eq!(Window::default().larger(u64::from(SMALLEST) * PROOF - 1, 1), None);
        assert_eq!(Window::default().larger(u64::MAX, 33), None);
        assert!(Window::default().suits(usize::MAX));
    }

    /// Each stream keeps what it was allowed when it came: the most that all can hold together.
    #[test]
    fn what_all_streams_may_hold_together_fits_the_connections_window() {
        let share = |nth: u64| (SHARED / nth).min(LARGEST.into()).max(SMALLEST.into());
        let together: u64 = (1..=super::super::MAX_STREAMS as u64).map(share).sum();
        assert!(together <= CONNECTION_WINDOW.into(), "{together}");
    }
}
