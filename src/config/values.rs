//! Typed values of a section's keys. The one rule: an absent key is None without a word; a key with a wrong value is None
//! and noted.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    mask,
    reader::{Misfit, Section, Text, not_one_of},
    schema, slips,
};

// What a key wants, as errors name it.
const TEXT: &str = "a string";
const NUMBER: &str = "a whole number";
const SWITCH: &str = "true or false";

impl<'a> Section<'a> {
    pub(super) fn text(&self, key: &str) -> Option<Text> {
        self.text_of(key, self.value(key)?)
    }

    /// A text read into something stricter.
    pub(super) fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Misfit>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text.value).map_err(|misfit| self.mistake(&text.span, misfit)).ok()
    }

    /// A list of texts; a single text is a list of one.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<Text>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.text_of(key, item)).collect()),
            _ => Some(vec![self.text_of(key, value)?]),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.wrong_type(key, &value.span(), SWITCH, other),
        }
    }

    /// A whole number within bounds.
    pub(super) fn count(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(key, &value.span(), NUMBER, value.get_ref());
        };
        let count = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let within = count.filter(|count| bounds.contains(count));
        if within.is_none() {
            let message = format!("`{key}` must be between {} and {}", bounds.start(), bounds.end());
            self.mistake(&value.span(), Misfit::new(message));
        }
        within
    }

    pub(super) fn number(&self, key: &str) -> Option<f64> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            other => self.wrong_type(key, &value.span(), "a number", other),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
            let words = || choices.iter().map(|(word, _)| *word);
            chosen.ok_or_else(|| not_one_of(key, text, words()))
        })
    }

    /// A table that maps free names to texts.
    pub(super) fn map(&self, key: &str) -> Vec<(Text, Text)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            return self.wrong_type(key, &value.span(), "a table", value.get_ref()).unwrap_or_default();
        };
        let entry = |(name, value): (&Spanned<_>, _)| {
            let name: Text =
                Text { value: AsRef::<str>::as_ref(name.get_ref()).to_owned(), span: name.span() };
            Some((name.clone(), self.scalar_of(&name.value, value)?))
        };
        table.iter().filter_map(entry).collect()
    }

    /// The names in the table of a key, whatever their values are.
    pub(super) fn names(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let table = self.value(key).and_then(|value| value.get_ref().as_table());
        table.into_iter().flat_map(DeTable::keys).map(|name| AsRef::<str>::as_ref(name.get_ref()))
    }

    /// A text, or a number or truth value as text.
    pub(super) fn scalar(&self, key: &str) -> Option<Text> {
        self.scalar_of(key, self.value(key)?)
    }

    fn scalar_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let written = |value_as_text: String| Some(Text { value: value_as_text, span: value.span() });
        match value.get_ref() {
            DeValue::Boolean(flag) => written(flag.to_string()),
            DeValue::Integer(number) => written(number.to_string()),
            _ => self.text_of(key, value),
        }
    }

    pub(super) fn text_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Table(table) => self.environment_text(key, value, table)?,
            other => return self.wrong_type(key, &value.span(), TEXT, other),
        };
        self.without_control(key, Text { value: text, span: value.span() })
    }

    pub(super) fn without_control(&self, key: &str, text: Text) -> Option<Text> {
        if !text.value.chars().any(char::is_control) {
            if schema::is_credential(key) {
                self.warn_of_slip(key, &text.span, &text.value);
            }
            return Some(text);
        }
        let message = format!("the value of `{key}` holds a line break or another control character");
        self.mistake(&text.span, Misfit::mended_by(message, "perhaps a line break at its end: remove it"));
        None
    }

    /// Warns of a credential that looks as if something had slipped into it.
    pub(super) fn warn_of_slip(&self, key: &str, span: &Range<usize>, value: &str) {
        if let Some(slip) = slips::slip(value) {
            let hint = "correct it where it comes from, unless the marketplace gave out just that: it is sent as it is";
            self.warning(span, Misfit::mended_by(format!("`{key}` {slip}"), hint));
        }
    }

    /// `{ env = "NAME" }`.
    fn environment_text(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        table: &DeTable<'_>,
    ) -> Option<String> {
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((kind, name)), None) if kind.get_ref() == "env" => self.variable(key, name),
            (Some((kind, _)), None) if kind.get_ref() == "file" => {
                let message = format!("`{key}` cannot come from a file: only secrets can");
                self.mistake(
                    &value.span(),
                    Misfit::mended_by(message, "write it here, or { env = \"NAME\" }"),
                );
                None
            }
            _ => {
                let message = format!("`{key}` must be a string or {{ env = \"NAME\" }}");
                self.mistake(&value.span(), Misfit::new(message));
                None
            }
        }
    }

    /// The variable that `{ env = "NAME" }` names.
    pub(super) fn variable(&self, key: &str, name: &Spanned<DeValue<'_>>) -> Option<String> {
        let Some(text) = name.get_ref().as_str() else {
            return self.wrong_type(
                "env",
                &name.span(),
                "the name of an environment variable",
                name.get_ref(),
            );
        };
        let legal = !text.is_empty() && !text.contains(['=', '\0']) && !text.chars().any(char::is_whitespace);
        let value = legal.then(|| self.reading.variable(text)).flatten();
        if value.is_none() {
            let hint = format!("set it before the start, or write another source for `{key}`");
            // Somebody may have put the secret where its variable's name belongs.
            let message = if mask::is_conventional(text) {
                format!("environment variable {text} is not set")
            } else {
                format!("the environment variable that `{key}` names is not set")
            };
            self.mistake(&name.span(), Misfit::mended_by(message, hint));
        }
        value
    }

    pub(super) fn wrong_type<T>(
        &self,
        key: &str,
        span: &Range<usize>,
        wanted: &str,
        found: &DeValue<'_>,
    ) -> Option<T> {
        let article = if matches!(found, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
        let message = format!("`{key}` must be {wanted}, not {article} {}", found.type_str());
        let misfit = match (wanted, found) {
            (TEXT, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)) => Misfit::mended_by(
                message,
                "write it in quotes; a time or a size with its unit, such as \"5s\" or \"1MiB\"",
            ),
            (NUMBER | SWITCH, DeValue::String(_)) => Misfit::mended_by(message, "write it without quotes"),
            _ => Misfit::new(message),
        };
        self.mistake(span, misfit);
        None
    }
}
