//! Reads typed values out of the parsed tree and collects what is wrong with them. The one rule: a mistake is noted where
//! it stands and reading goes on, so that one run reports them all.

use std::{cell::RefCell, fmt, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    finding::{Finding, Severity},
    later,
    lines::Lines,
    mask::Masked,
    schema::{self, Shape},
};

/// What one reading of a file shares.
pub(super) struct Reading<'a> {
    /// What relative paths are relative to.
    pub directory: &'a Path,
    /// The environment's variables.
    env: &'a dyn Fn(&str) -> Option<String>,
    notes: RefCell<Vec<Note>>,
    /// Values of environment variables: a mistaken name must not bring a secret into a message.
    hidden: RefCell<Vec<String>>,
}

/// A finding that does not know its line yet.
#[derive(Debug)]
pub(super) struct Note {
    /// Where; None for the file as a whole.
    pub span: Option<Range<usize>>,
    pub severity: Severity,
    /// Whether something is missing, which a syntax error elsewhere may explain.
    pub absence: bool,
    pub message: String,
    pub hint: Option<String>,
}

impl Note {
    pub(super) fn into_finding(self, file: &str, source: &str, lines: &Lines, masked: &Masked) -> Finding {
        let mut finding = Finding::whole(file, self.message, self.hint);
        finding.severity = self.severity;
        match self.span {
            Some(span) => finding.at(source, lines, masked, &span),
            None => finding,
        }
    }
}

/// A string's value with the place it came from.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub value: String,
    pub span: Range<usize>,
}

/// Why a value does not fit, and what mends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub message: String,
    pub hint: Option<String>,
}

impl Misfit {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn mended_by(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(directory: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { directory, env, notes: RefCell::default(), hidden: RefCell::default() }
    }

    fn note(&self, mut note: Note) {
        for value in self.hidden.borrow().iter() {
            note.message = note.message.replace(&format!("`{value}`"), "`…`");
        }
        self.notes.borrow_mut().push(note);
    }

    /// The value of an environment variable. No message will hold it.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = (self.env)(name)?;
        self.hidden.borrow_mut().push(value.clone());
        Some(value)
    }

    /// The value of a variable that says where things are; messages may show it.
    pub(super) fn surroundings(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        self.notes.into_inner()
    }

    /// The path as the operator means it.
    pub(super) fn path(&self, text: &str) -> std::path::PathBuf {
        self.directory.join(text)
    }
}

/// One table of the file, or the nothing that stands for a table that is not there.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub reading: &'a Reading<'a>,
    /// Whom its mistakes concern: `` app `walmart`:  `` or nothing.
    subject: String,
    shape: &'static Shape,
    table: Option<&'a DeTable<'a>>,
    span: Option<Range<usize>>,
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section({})", self.shape.name)
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(reading: &'a Reading<'a>, table: &'a DeTable<'a>) -> Self {
        Self { reading, subject: String::new(), shape: &schema::ROOT, table: Some(table), span: None }
    }

    // ---- what is wrong

    /// Notes a mistake at a place.
    pub(super) fn mistake(&self, span: &Range<usize>, misfit: Misfit) {
        self.note(Some(span.clone()), Severity::Error, false, misfit);
    }

    /// Notes that something is missing from this section.
    pub(super) fn absence(&self, misfit: Misfit) {
        self.note(self.span.clone(), Severity::Error, true, misfit);
    }

    /// Notes a mistake at a key's value or, when the key is not written here, at the section's head.
    pub(super) fn mistake_at(&self, path: &str, misfit: Misfit) {
        match self.place(path) {
            Some(span) => self.mistake(&span, misfit),
            None => self.absence(misfit),
        }
    }

    /// Notes something that works and should be mended.
    pub(super) fn warning(&self, span: &Range<usize>, misfit: Misfit) {
        self.note(Some(span.clone()), Severity::Warning, false, misfit);
    }

    /// Notes that something is missing from this section that will be missed later.
    pub(super) fn advice(&self, misfit: Misfit) {
        self.note(self.span.clone(), Severity::Warning, true, misfit);
    }

    fn note(&self, span: Option<Range<usize>>, severity: Severity, absence: bool, misfit: Misfit) {
        let message = format!("{}{}", self.subject, misfit.message);
        self.reading.note(Note { span, severity, absence, message, hint: misfit.hint });
    }

    // ---- which keys there are

    /// Notes every key that does not belong here, with a guess at what was meant. `more` are keys beside the shape's.
    pub(super) fn check_keys(&self, more: &[&str]) {
        for (key, value) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if !self.shape.keys.contains(&name) && !more.contains(&name) {
                self.unknown(name, key.span(), value.get_ref(), more);
            }
        }
    }

    fn unknown(&self, name: &str, span: Range<usize>, value: &DeValue<'_>, more: &[&str]) {
        if let Some(later) = later::find(self.shape.name, name) {
            self.mistake(&span, Misfit::mended_by(later.what, later.mend));
            return;
        }
        let known = || self.shape.keys.iter().copied().chain(more.iter().copied());
        let guess = nearest(name, known());
        let what = if self.shape.name.is_empty() { "section" } else { "key" };
        let message = match guess {
            Some(guess) => format!("unknown {what} `{name}`, did you mean `{guess}`?"),
            None => format!("unknown {what} `{name}`"),
        };
        let hint = match value {
            DeValue::Table(_) if guess.is_none() && self.shape.name.ends_with("NAME") => {
                "a name with a dot in it stands in quotes: [apps.\"my.shop\"]".to_owned()
            }
            _ => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.mistake(&span, Misfit { message, hint: guess.is_none().then_some(hint) });
    }

    /// Whether the key is written here, well or badly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The words that begin its mistakes' messages.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Where the value of `KEY` or `KEY.NAME` stands.
    pub(super) fn place(&self, path: &str) -> Option<Range<usize>> {
        let (key, name) = path.split_once('.').map_or((path, None), |(key, name)| (key, Some(name)));
        let (_, value) = self.table?.get_key_value(key)?;
        let inner = name.and_then(|name| value.get_ref().as_table()?.get(name));
        Some(inner.unwrap_or(value).span())
    }

    /// The value of a key; None when it is absent or was lost to a syntax error.
    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.shape.keys.contains(&key) || schema::is_setting(key), "`{key}` is in no schema");
        let value = self.table?.get(key)?;
        (!value.span().is_empty()).then_some(value)
    }

    // ---- sections below

    /// The section below a key. When it is not written, every key of it is absent.
    pub(super) fn section(&self, key: &str, shape: &'static Shape) -> Self {
        let empty = |span| self.below(shape, None, span);
        let Some(value) = self.value(key) else { return empty(self.span.clone()) };
        let Some(table) = value.get_ref().as_table() else {
            let _: Option<()> = self.wrong_type(key, &value.span(), "a table", value.get_ref());
            return empty(self.span.clone());
        };
        let section = self.below(shape, Some(table), Some(value.span()));
        section.check_keys(&[]);
        section
    }

    /// The tables of `[[KEY]]`.
    pub(super) fn sections(&self, key: &str, shape: &'static Shape) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let _: Option<()> = self.wrong_type(key, &value.span(), "a list of tables", value.get_ref());
            return Vec::new();
        };
        let section = |item: &'a Spanned<DeValue<'a>>| {
            let Some(table) = item.get_ref().as_table() else {
                return self.wrong_type(key, &item.span(), "a table", item.get_ref());
            };
            let section = self.below(shape, Some(table), Some(item.span()));
            section.check_keys(&[]);
            Some(section)
        };
        items.iter().filter_map(section).collect()
    }

    /// The tables below `KEY.NAME`, each with its name. Their keys are not checked: what is known may depend on them.
    pub(super) fn named(
        &self,
        key: &str,
        shape: &'static Shape,
        subject: impl Fn(&str) -> String,
    ) -> Vec<(Text, Self)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            return self.wrong_type(key, &value.span(), "a table", value.get_ref()).unwrap_or_default();
        };
        let section = |(name, value): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let text: &str = AsRef::<str>::as_ref(name.get_ref());
            let Some(inner) = value.get_ref().as_table() else {
                return self.wrong_type(&format!("{key}.{text}"), &name.span(), "a table", value.get_ref());
            };
            let mut section = self.below(shape, Some(inner), Some(value.span()));
            section.subject = subject(text);
            Some((Text { value: text.to_owned(), span: name.span() }, section))
        };
        table.iter().filter_map(section).collect()
    }

    fn below(
        &self,
        shape: &'static Shape,
        table: Option<&'a DeTable<'a>>,
        span: Option<Range<usize>>,
    ) -> Self {
        Self { reading: self.reading, subject: self.subject.clone(), shape, table, span }
    }
}

/// A word that is none of those allowed.
pub(super) fn not_one_of<'w>(key: &str, text: &str, words: impl Iterator<Item = &'w str>) -> Misfit {
    let words: Vec<&str> = words.collect();
    let message = match nearest(text, words.iter().copied()) {
        Some(guess) => format!("`{text}` is no {key}, did you mean `{guess}`?"),
        None => format!("`{text}` is no {key}"),
    };
    Misfit::mended_by(message, format!("write one of \"{}\"", words.join("\", \"")))
}

/// The known name that is near enough to have been meant.
pub(super) fn nearest<'w>(name: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let lower = name.to_lowercase();
    let scored = known.map(|word| (strsim::damerau_levenshtein(&lower, word), word));
    let (distance, word) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len() / 3).max(1)).then_some(word)
}
