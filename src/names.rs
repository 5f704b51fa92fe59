//! Names of apps and accounts. The one rule: a name that exists is well-formed.
//!
//! Grammar: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, case-sensitive. It needs no escaping in a path, a header, a log line,
//! a metric label or a file name, and it can hold neither `@` nor `/`, which separate names.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Longest name, in bytes.
pub const MAX_LENGTH: usize = 128;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 128 characters of A-Z a-z 0-9 . _ -, beginning with a letter or a digit")]
pub struct NameError;

/// Whether a text is a name.
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= MAX_LENGTH
        && bytes.iter().all(allowed)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(NameError) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of one entry `[apps.NAME]`.
    AppName
}
name! {
    /// The name of one account (seller or credential) under an app.
    AccountName
}

impl AccountName {
    /// The account a request means when it names none, and the implicit account of an app that holds its own credentials.
    pub fn implicit() -> Self {
        Self("default".into())
    }
}

/// One account of one app: what a token belongs to. Written `APP@ACCOUNT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    /// The app.
    pub app: AppName,
    /// The account under it.
    pub account: AccountName,
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.app, self.account)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `APP` or `APP@ACCOUNT`, as commands and route prefixes write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRef {
    /// The app.
    pub app: AppName,
    /// The account, when it is named.
    pub account: Option<AccountName>,
}

impl FromStr for AccountRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (app, account) = match text.split_once('@') {
            Some((app, account)) => (app, Some(account.parse()?)),
            None => (text, None),
        };
        Ok(Self { app: app.parse()?, account })
    }
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "{}@{account}", self.app),
            None => write!(f, "{}", self.app),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_only_what_needs_no_escaping() {
        for good in ["a", "9", "shop-42", "A.b_c-d", &"x".repeat(128)] {
            assert!(good.parse::<AccountName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a/b", "a@b", "a b", "ä", "a%40", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_names_an_app_and_perhaps_an_account() {
        let plain: AccountRef = "depop".parse().unwrap();
        assert_eq!((plain.app.as_str(), plain.account), ("depop", None));
        let full: AccountRef = "depop@shop-42".parse().unwrap();
        assert_eq!(full.account.unwrap().as_str(), "shop-42");
        assert!("depop@".parse::<AccountRef>().is_err());
        assert!("depop@a@b".parse::<AccountRef>().is_err());
    }
}
