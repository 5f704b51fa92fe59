//! Takes in many grants from a file. The one rule: what became of a line is written down before the next piece is sent, and
//! an import that was broken off can simply be run again.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
};

use tokio::sync::mpsc;

use super::{
    ImportArguments, Outcome, Sender, Validate,
    grants::{Grants, Piece},
};
use crate::{
    accounts::import::Imported,
    cli::{
        Exit, Failure, Output, Place,
        admin_client::{AdminClient, Refusal},
        progress::{Progress, grouped},
        streams,
    },
};

/// How many refused lines are told on the terminal.
const TOLD: usize = 5;

/// How many lines there were of each outcome.
#[derive(Debug, Default, serde::Serialize)]
struct Summary {
    created: usize,
    replaced: usize,
    unchanged: usize,
    refused: usize,
    /// Taken in, tried, and not working.
    not_working: usize,
}

pub(super) async fn import(
    place: &Place,
    client: &AdminClient,
    arguments: &ImportArguments,
    file: &Path,
) -> Result<(), Failure> {
    let mut pieces = pieces(file, arguments.validate)?;
    let mut results = arguments.results.as_deref().map(open_results).transpose()?;
    let sender = Sender::new(client, &arguments.account.app, arguments);
    let mut summary = Summary::default();
    let mut progress = Progress::begin("lines", lines_of(file));
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|e| {
            broken_off(Failure::new(Exit::Failure, format!("{}: {e}", file.display())), &summary)
        })?;
        let outcomes = sender.send(piece.body).await.map_err(|e| broken_off(e.into(), &summary))?;
        if outcomes.len() != piece.numbers.len() {
            let failure = Failure::new(Exit::Failure, "the answer does not tell what became of every line");
            return Err(broken_off(failure, &summary));
        }
        for (outcome, number) in outcomes.into_iter().zip(piece.numbers) {
            let outcome = Outcome { line: number, ..outcome };
            summary.count(&outcome);
            if let Some(results) = &mut results {
                write_down(results, &outcome)?;
            }
        }
        progress.reach(summary.lines() as u64);
    }
    progress.end();
    summary.print(place, arguments)
}

/// How many lines a file has, if it is one that can be read twice.
fn lines_of(file: &Path) -> Option<u64> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut source = BufReader::new(File::open(file).ok()?);
    let (mut lines, mut ends) = (0, true);
    loop {
        let piece = source.fill_buf().ok()?;
        if piece.is_empty() {
            return Some(lines + u64::from(!ends));
        }
        lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        ends = piece.ends_with(b"\n");
        let length = piece.len();
        source.consume(length);
    }
}

/// The file's pieces, read by a thread of its own, so that a slow pipe stops nobody.
fn pieces(file: &Path, validate: Validate) -> Result<mpsc::Receiver<std::io::Result<Piece>>, Failure> {
    let source: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let opened = File::open(file).map_err(|e| {
            Failure::new(Exit::Failure, format!("{}: {e}", file.display()))
                .mend("name a file that can be read")
        })?;
        Box::new(BufReader::new(opened))
    };
    let (tell, pieces) = mpsc::channel(1);
    let read = move || {
        let mut grants = Grants::new(source, validate == Validate::Now);
        while let Some(piece) = grants.piece().transpose() {
            let is_last = piece.is_err();
            if tell.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("grants".to_owned())
        .spawn(read)
        .map_err(|e| Failure::new(Exit::Failure, e))?;
    Ok(pieces)
}

fn open_results(path: &Path) -> Result<File, Failure> {
    File::options().append(true).create(true).open(path).map_err(|e| {
        Failure::new(Exit::Failure, format!("{}: {e}", path.display()))
            .mend("name a file that can be written")
    })
}

fn write_down(results: &mut File, outcome: &Outcome) -> Result<(), Failure> {
    // Strings and numbers always serialise.
    let line = serde_json::to_string(outcome).unwrap_or_default() + "\n";
    results.write_all(line.as_bytes()).map_err(|e| {
        Failure::new(Exit::Failure, format!("the results cannot be written: {e}"))
            .mend("make room and run it again: what is in is left as it is")
    })
}

fn broken_off(failure: Failure, summary: &Summary) -> Failure {
    streams::talk(format_args!(
        "broken off after {} lines; run it again, what is in is left as it is",
        grouped(summary.lines() as u64)
    ));
    failure
}

impl Summary {
    fn lines(&self) -> usize {
        self.created + self.replaced + self.unchanged + self.refused
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome.sorted() {
            Ok(Imported::Created) => self.created += 1,
            Ok(Imported::Replaced) => self.replaced += 1,
            Ok(Imported::Unchanged) => self.unchanged += 1,
            Err(refusal) => {
                self.refused += 1;
                self.tell(outcome, &refusal);
            }
        }
        if let Some(refusal) = outcome.failed() {
            self.not_working += 1;
            self.tell(outcome, &refusal);
        }
    }

    /// The first few of them: the rest is for `--results`.
    fn tell(&self, outcome: &Outcome, refusal: &Refusal) {
        if self.refused + self.not_working <= TOLD {
            let account = outcome.account.as_deref().map_or(String::new(), |account| format!(" ({account})"));
            let (line, detail, action) = (outcome.line, &refusal.detail, &refusal.action);
            streams::talk(format_args!("line {line}{account}: {detail}\n  help: {action}"));
        }
    }

    fn print(&self, place: &Place, arguments: &ImportArguments) -> Result<(), Failure> {
        match place.output {
            // Numbers always serialise.
            Output::Json => streams::data(serde_json::to_string(self).unwrap_or_default()),
            Output::Text => streams::data(self.text(arguments.dry_run)),
        }
        if self.refused + self.not_working == 0 {
            return Ok(());
        }
        let what = match (self.refused, self.not_working) {
            (refused, 0) => format!("{} lines were refused", grouped(refused as u64)),
            (0, not) => format!("{} grants do not work", grouped(not as u64)),
            (refused, not) => {
                format!(
                    "{} lines were refused, and {} grants do not work",
                    grouped(refused as u64),
                    grouped(not as u64)
                )
            }
        };
        let failure = Failure::new(Exit::Failure, what);
        Err(failure.mend(match &arguments.results {
            Some(results) => format!("{} says why; correct them and run it again", results.display()),
            None => "correct them and run it again; --results FILE writes down every reason".to_owned(),
        }))
    }

    fn text(&self, dry_run: bool) -> String {
        let mut text = if dry_run { "would be: ".to_owned() } else { String::new() };
        let replaced = (self.replaced > 0).then_some(("replaced", self.replaced));
        let not_working = (self.not_working > 0).then_some(("not working", self.not_working));
        let counts = [
            Some(("created", self.created)),
            replaced,
            Some(("unchanged", self.unchanged)),
            Some(("refused", self.refused)),
            not_working,
        ];
        for (number, (word, count)) in counts.into_iter().flatten().enumerate() {
            let between = if number == 0 { "" } else { " · " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{between}{word} {}", grouped(count as u64));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_as_a_line() {
        let summary = Summary { created: 9_990, replaced: 0, unchanged: 10, refused: 0, not_working: 0 };
        assert_eq!(summary.text(false), "created 9,990 · unchanged 10 · refused 0");
        let summary = Summary { replaced: 1_234_567, ..summary };
        assert_eq!(
            summary.text(true),
            "would be: created 9,990 · replaced 1,234,567 · unchanged 10 · refused 0"
        );
    }
}
