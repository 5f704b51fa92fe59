//! What the accounts API says in JSON beside the documents of the accounts service. The one rule: members are only added.

use serde::{Deserialize, Serialize};

use crate::accounts::{
    AccountDocument, AccountsError,
    consent::{Connected, ConsentState},
    document::TroubleDocument,
    import::Imported,
};

/// The answer to a PUT of an account.
#[derive(Debug, Serialize, Deserialize)]
pub struct PutReport {
    /// What became of it.
    pub outcome: Imported,
    /// The account as it is now; none when it was only looked whether one could be created.
    pub account: Option<AccountDocument>,
}

/// The answer to an import.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImportReport {
    /// One for each line that is not empty, in their order.
    pub results: Vec<LineReport>,
}

/// What became of one line of an import: `outcome`, or `code`, `detail` and `action`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LineReport {
    /// Its number in the body, from 1.
    pub line: usize,
    /// The account it names, as far as it could be read.
    pub account: Option<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Imported>,
    /// Why it was refused: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// With `validate=now`: the account's state after its first token call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With `validate=now`: why it has no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleDocument>,
}

/// How a consent stands.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDocument {
    /// `pending`, `connected` or `failed`.
    pub state: String,
    /// Who is connected.
    pub connected: Option<Connected>,
    /// Why nobody is.
    pub error: Option<ErrorDocument>,
}

/// Why something was not done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// A stable word.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What mends it.
    pub action: String,
}

/// A token that left. It has no `Debug`: it holds the token.
#[derive(Serialize, Deserialize)]
pub struct TokenAnswer {
    /// The token.
    pub access_token: String,
    /// Seconds until it expires; none: it does not.
    pub expires_in: Option<u64>,
    /// The header field the marketplace wants it in.
    pub header: String,
    /// What stands before it there.
    pub prefix: String,
    /// Counts the account's tokens.
    pub generation: u64,
}

impl From<AccountsError> for ErrorDocument {
    fn from(error: AccountsError) -> Self {
        Self { code: error.code.to_owned(), detail: error.detail, action: error.action }
    }
}

impl From<ConsentState> for ConsentDocument {
    fn from(state: ConsentState) -> Self {
        let (state, connected, error) = match state {
            ConsentState::Pending => ("pending", None, None),
            ConsentState::Connected(connected) => ("connected", Some(connected), None),
            ConsentState::Failed(error) => ("failed", None, Some(error.into())),
        };
        Self { state: state.to_owned(), connected, error }
    }
}

/// A copy of the store that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupReport {
    /// Where it is.
    pub path: String,
}

/// What was sealed anew with the active key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RekeyReport {
    /// How many records and pending consents.
    pub sealed: u64,
}
