//! What is wrong in a `proxy.toml`, for people to read. The one rule: a finding is complete and holds no secret; it can be
//! kept, logged and printed without the file it came from.

use std::{fmt, ops::Range};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::{lines::Lines, mask::Masked};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, and something should be mended.
    Warning,
}

/// One mistake, or one thing that should be mended.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The configuration file as it was named.
    pub file: String,
    /// Its line, from 1; None when the mistake is nowhere in particular.
    pub line: Option<usize>,
    /// Its column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What mends it.
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// The line at fault, secrets masked, and the bytes of it to point at.
#[derive(Debug, Clone)]
struct Excerpt {
    line: String,
    mark: Range<usize>,
}

impl Finding {
    /// A finding about the file as a whole.
    pub(super) fn whole(file: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            hint,
            excerpt: None,
        }
    }

    /// Points the finding at a span of the source.
    pub(super) fn at(mut self, source: &str, lines: &Lines, masked: &Masked, span: &Range<usize>) -> Self {
        let start = (0..=span.start.min(source.len())).rev().find(|i| source.is_char_boundary(*i));
        let start = start.unwrap_or(0);
        let number = lines.number(start);
        let (line, mark) = masked.line(number, span);
        self.line = Some(number + 1);
        self.column = Some(source[lines.begin(number)..start].chars().count() + 1);
        self.excerpt = Some(Excerpt { line, mark });
        self
    }

    /// The finding with its source line, a caret and the hint.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        group = match (&self.excerpt, self.line) {
            (Some(excerpt), Some(line)) => group.element(excerpt.snippet(&self.file, line)),
            _ => group.element(Origin::path(self.file.as_str())),
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        self.with_true_column(renderer.render(&[group]))
    }

    /// The renderer counts columns in the excerpt, which is shorter than its line where something before is masked.
    fn with_true_column(&self, rendered: String) -> String {
        let (Some(excerpt), Some(line), Some(column)) = (&self.excerpt, self.line, self.column) else {
            return rendered;
        };
        let counted = excerpt.line[..excerpt.mark.start].chars().count() + 1;
        let place = |column: usize| format!("{}:{line}:{column}\n", self.file);
        rendered.replacen(&place(counted), &place(column), 1)
    }
}

impl Excerpt {
    fn snippet<'s>(&'s self, file: &'s str, line: usize) -> Snippet<'s, Annotation<'s>> {
        let mark = AnnotationKind::Primary.span(self.mark.clone());
        Snippet::source(self.line.as_str()).path(file).line_start(line).annotation(mark)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// So many mistakes are shown: whoever names a wrong file needs no more.
const MOST_SHOWN: usize = 20;

/// Why a `proxy.toml` cannot be used: every mistake in it.
#[derive(Debug, Clone)]
pub struct ConfigError {
    findings: Vec<Finding>,
}

impl ConfigError {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The mistakes in the order of the file, warnings among them.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// As many of them as anybody reads.
    pub fn shown(&self) -> &[Finding] {
        &self.findings[..self.findings.len().min(MOST_SHOWN)]
    }

    /// Them for a terminal, each with its line, a caret and a hint, and at the end how many they are.
    pub fn render(&self, colour: bool) -> String {
        let shown = self.shown();
        let mut text = shown.iter().map(|finding| finding.render(colour) + "\n\n").collect::<String>();
        if shown.len() < self.findings.len() {
            let more = self.findings.len() - shown.len();
            text.push_str(&format!("and {more} more, of which these may be the reason\n\n"));
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let file = self.findings.first().map_or("the configuration", |finding| finding.file.as_str());
        match self.findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
            1 => format!("{file} has 1 mistake"),
            count => format!("{file} has {count} mistakes"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl std::error::Error for ConfigError {}
