//! Header and parameter values with placeholders. The one rule: a template that names an unset setting yields nothing, so
//! that no half-filled header is ever sent.

use std::{fmt, str::FromStr};

/// A value such as `{client_id}`, `Walmart Marketplace` or `{key}:{secret}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or a `}` alone.
    #[error("the braces of `{0}` do not pair up")]
    Unbalanced(String),
    /// `{}` or a name outside `a-z 0-9 _`.
    #[error("`{{{0}}}` is no placeholder: a name is a-z, 0-9 and _")]
    BadName(String),
    /// A control character or a byte that no header may carry.
    #[error("a value may hold visible ASCII characters and spaces only")]
    BadCharacter,
}

/// Placeholders by which a request says who it is for: headers made of them are never left to the caller.
const IDENTITY: [&str; 4] = ["account", "client_id", "client_secret", "partner_id"];

/// The placeholder that is drawn anew for every request.
const PER_REQUEST: &str = "uuid";

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(TemplateError::BadCharacter);
        }
        let unbalanced = || TemplateError::Unbalanced(text.to_owned());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let close =
                rest[open..].find('}').filter(|_| rest.as_bytes()[open] == b'{').ok_or_else(unbalanced)?;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            pieces.push(placeholder(&rest[open + 1..open + close])?);
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

fn placeholder(name: &str) -> Result<Piece, TemplateError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(TemplateError::BadName(name.to_owned()));
    }
    Ok(Piece::Placeholder(name.to_owned()))
}

impl Template {
    /// The names between braces, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Whether it says who a request is for: then the header is ours, whatever a caller sends.
    pub fn names_identity(&self) -> bool {
        self.placeholders().any(|name| IDENTITY.contains(&name))
    }

    /// Whether it holds a setting of the app or account, rather than only constants and `{uuid}`.
    pub fn names_setting(&self) -> bool {
        self.placeholders().any(|name| name != PER_REQUEST)
    }

    /// Whether its value is another one for every request.
    pub fn is_per_request(&self) -> bool {
        self.placeholders().any(|name| name == PER_REQUEST)
    }

    /// The same template with its settings filled in and only `{uuid}` left; None when a setting has no value.
    #[must_use]
    pub fn bound<'a>(&self, value_of: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> Option<Self> {
        let bind = |piece: &Piece| match piece {
            Piece::Placeholder(name) if name != PER_REQUEST => {
                Some(Piece::Text(value_of(name)?.into_owned()))
            }
            other => Some(other.clone()),
        };
        self.0.iter().map(bind).collect::<Option<_>>().map(Self)
    }

    /// The value, or None when a placeholder has none.
    pub fn render<'a>(&self, value_of: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Placeholder(name) => out.push_str(&value_of(name)?),
            }
        }
        Some(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Placeholder(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Option<String> {
        template.parse::<Template>().unwrap().render(|name| match name {
            "client_id" => Some("id-1".into()),
            "uuid" => Some("u".into()),
            _ => None,
        })
    }

    #[test]
    fn a_template_is_filled_whole_or_not_at_all() {
        assert_eq!(render("x {client_id}:{uuid}!").as_deref(), Some("x id-1:u!"));
        assert_eq!(render("plain").as_deref(), Some("plain"));
        assert_eq!(render("").as_deref(), Some(""));
        assert_eq!(render("{client_id}{market}"), None);
    }

    #[test]
    fn what_is_no_template_is_named() {
        let error = |text: &str| text.parse::<Template>().unwrap_err();
        assert_eq!(error("a{b"), TemplateError::Unbalanced("a{b".into()));
        assert_eq!(error("a}b"), TemplateError::Unbalanced("a}b".into()));
        assert_eq!(error("{}"), TemplateError::BadName(String::new()));
        assert_eq!(error("{Client}"), TemplateError::BadName("Client".into()));
        assert_eq!(error("a\r\nb"), TemplateError::BadCharacter);
    }

    #[test]
    fn a_bound_template_keeps_only_what_changes_from_request_to_request() {
        let bound = "{client_id}-{uuid}".parse::<Template>().unwrap().bound(|_| Some("id-1".into())).unwrap();
        assert_eq!(bound.render(|_| Some("u".into())).as_deref(), Some("id-1-u"));
        assert_eq!("{market}{uuid}".parse::<Template>().unwrap().bound(|_| None), None);
    }

    #[test]
    fn identity_and_settings_are_told_from_constants() {
        let template = |text: &str| text.parse::<Template>().unwrap();
        assert!(template("{partner_id}").names_identity());
        assert!(!template("{market}").names_identity() && template("{market}").names_setting());
        assert!(!template("{uuid}").names_setting() && template("{uuid}").is_per_request());
    }
}
