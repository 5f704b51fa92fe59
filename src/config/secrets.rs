//! Reads secrets: literal, `{ env = "NAME" }` or `{ file = "path" }`. The one rule: no message holds a secret's value.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::reader::{Misfit, Section, Text};
use crate::secret::{Secret, SecretError, SecretSource};

/// A secret with its place.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub source: SecretSource,
    pub span: Range<usize>,
}

/// Whether a file that is named must be there.
#[derive(Clone, Copy, PartialEq)]
enum Files {
    Exist,
    MayCome,
}

impl Section<'_> {
    /// One secret.
    pub(super) fn secret(&self, key: &str) -> Option<Found> {
        self.secret_of(key, self.value(key)?, Files::Exist)
    }

    /// One secret whose file may still have to be made.
    pub(super) fn secret_to_be(&self, key: &str) -> Option<Found> {
        self.secret_of(key, self.value(key)?, Files::MayCome)
    }

    /// One secret, or several in the order they are tried.
    pub(super) fn secrets(&self, key: &str) -> Option<Vec<Found>> {
        let value = self.value(key)?;
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            self.mistake(&value.span(), Misfit::new(format!("`{key}` is an empty list")));
            return None;
        }
        self.secrets_if_any(key)
    }

    /// As [`Section::secrets`]; the list may be empty.
    pub(super) fn secrets_if_any(&self, key: &str) -> Option<Vec<Found>> {
        let value = self.value(key)?;
        let one = |value| self.secret_of(key, value, Files::Exist);
        let DeValue::Array(items) = value.get_ref() else { return Some(vec![one(value)?]) };
        let found: Vec<_> = items.iter().filter_map(one).collect();
        (found.len() == items.len()).then_some(found)
    }

    fn secret_of(&self, key: &str, value: &Spanned<DeValue<'_>>, files: Files) -> Option<Found> {
        let span = value.span();
        let source = match value.get_ref() {
            DeValue::String(text) => self.literal(key, &span, text)?,
            DeValue::Table(table) => self.elsewhere(key, &span, table, files)?,
            other => {
                return self.wrong_type(
                    key,
                    &span,
                    "{ env = \"NAME\" }, { file = \"path\" } or a string",
                    other,
                );
            }
        };
        Some(Found { source, span })
    }

    fn literal(&self, key: &str, span: &Range<usize>, text: &str) -> Option<SecretSource> {
        let secret = self.fixed(key, span, text.to_owned())?;
        let hint = format!("write {key} = {{ env = \"NAME\" }} or {key} = {{ file = \"path\" }}");
        self.warning(
            span,
            Misfit::mended_by(format!("`{key}` stands in the file for everyone who reads it"), hint),
        );
        Some(secret)
    }

    fn elsewhere(
        &self,
        key: &str,
        span: &Range<usize>,
        table: &DeTable<'_>,
        files: Files,
    ) -> Option<SecretSource> {
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((kind, name)), None) if kind.get_ref() == "env" => {
                self.fixed(key, span, self.variable(key, name)?)
            }
            (Some((kind, path)), None) if kind.get_ref() == "file" => self.file(key, path, files),
            _ => {
                let message = format!("`{key}` must come from {{ env = \"NAME\" }} or {{ file = \"path\" }}");
                self.mistake(span, Misfit::new(message));
                None
            }
        }
    }

    fn fixed(&self, key: &str, span: &Range<usize>, value: String) -> Option<SecretSource> {
        if value.is_empty() {
            self.mistake(span, Misfit::new(format!("`{key}` is empty")));
            return None;
        }
        let text = self.without_control(key, Text { value, span: span.clone() })?;
        Some(SecretSource::Fixed(Secret::new(text.value)))
    }

    /// A file is read once now, so that a wrong path is found before the first request.
    fn file(&self, key: &str, path: &Spanned<DeValue<'_>>, files: Files) -> Option<SecretSource> {
        let text = self.text_of("file", path)?;
        let source = SecretSource::File(self.reading.path(&text.value));
        match source.read() {
            Ok(secret) => {
                self.warn_of_slip(key, &text.span, secret.expose());
                Some(source)
            }
            Err(SecretError::Unreadable { .. }) if files == Files::MayCome => Some(source),
            Err(error) => {
                self.mistake(&text.span, Misfit::new(error.to_string()));
                None
            }
        }
    }
}
