//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use super::streams;

/// How often a bar is drawn anew.
const ON_TERMINAL: Duration = Duration::from_millis(100);

/// How often a line is written, and how long work takes before anything is said of it.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The bar, in characters.
const WIDTH: u64 = 30;

/// Work that is counted.
#[derive(Debug)]
pub struct Progress {
    /// What is counted: `lines`.
    unit: &'static str,
    /// How many there are, where that is known.
    total: Option<u64>,
    is_terminal: bool,
    /// When something was told of it.
    told: Instant,
    has_bar: bool,
}

impl Progress {
    /// Nothing is done yet.
    pub fn begin(unit: &'static str, total: Option<u64>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { unit, total, is_terminal, told: Instant::now(), has_bar: false }
    }

    /// So much is done.
    pub fn reach(&mut self, done: u64) {
        let every = if self.is_terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let text = text(done, self.total, self.unit, self.is_terminal);
        if self.is_terminal {
            self.has_bar = true;
            streams::ask(format_args!("\r{text}"));
        } else {
            streams::talk(text);
        }
    }

    /// What is told next stands on a line of its own.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.has_bar) {
            streams::talk("");
        }
    }
}

fn text(done: u64, total: Option<u64>, unit: &str, is_bar: bool) -> String {
    let Some(total) = total.filter(|total| *total >= done && *total > 0) else {
        return format!("{} {unit}", grouped(done));
    };
    let told = format!("{} of {} {unit}, {} %", grouped(done), grouped(total), done * 100 / total);
    if !is_bar {
        return told;
    }
    let full = (done * WIDTH / total) as usize;
    format!("[{}{}] {told}", "#".repeat(full), ".".repeat(WIDTH as usize - full))
}

/// Waits for work of which nothing is known but that it goes on.
pub async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let tell = async {
        loop {
            tokio::time::sleep(ELSEWHERE).await;
            streams::talk(format_args!("{what}: {} s so far", began.elapsed().as_secs()));
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        never = tell => never,
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_which_part_is_done_and_without_a_total_it_is_a_number() {
        assert_eq!(
            text(45_000, Some(90_000), "lines", true),
            format!("[{}{}] 45,000 of 90,000 lines, 50 %", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(text(45_000, Some(90_000), "lines", false), "45,000 of 90,000 lines, 50 %");
        assert_eq!(text(1_234_567, None, "lines", true), "1,234,567 lines");
        assert_eq!(text(7, Some(5), "lines", false), "7 lines");
        assert_eq!(text(5, Some(5), "lines", true), format!("[{}] 5 of 5 lines, 100 %", "#".repeat(30)));
    }
}
