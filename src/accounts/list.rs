//! Many accounts, a page at a time. The one rule: one order, app and then account, wherever each is kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Accounts, AccountsError, document::AccountDocument};
use crate::{
    config::App,
    names::{AccountId, AccountName, AppName},
    store::PageQuery,
};

/// How many records are read from the store at once.
const BATCH: usize = 500;

/// One page of the list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// The accounts, ordered by app and name.
    pub accounts: Vec<AccountDocument>,
    /// The `after` of the next page, when there is one.
    pub next: Option<String>,
}

/// What of the list is asked for.
#[derive(Debug, Default, Clone)]
pub struct Query {
    /// Only this app's.
    pub app: Option<AppName>,
    /// Only those in this state: a state, or a state's reason.
    pub state: Option<String>,
    /// Only those after this one.
    pub after: Option<(AppName, AccountName)>,
    /// At most so many.
    pub limit: usize,
}

impl Accounts {
    /// The page of the list that `query` asks for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn page(&self, query: &Query) -> Result<Page, AccountsError> {
        let mut accounts = Vec::new();
        for app in self.apps.values().filter(|app| query.app.as_ref().is_none_or(|name| *name == app.name)) {
            let after = match &query.after {
                Some((after, _)) if app.name < *after => continue,
                Some((after, account)) if app.name == *after => Some(account.clone()),
                _ => None,
            };
            self.page_of(app, after, query, &mut accounts).await?;
            if accounts.len() > query.limit {
                break;
            }
        }
        let more = accounts.len() > query.limit;
        accounts.truncate(query.limit);
        let next = accounts.last().filter(|_| more).map(|last| format!("{}@{}", last.app, last.account));
        Ok(Page { accounts, next })
    }

    /// One account.
    ///
    /// # Errors
    /// When there is no such one, or the store cannot be read.
    pub async fn show(&self, id: &AccountId) -> Result<AccountDocument, AccountsError> {
        let app = self.app(&id.app)?;
        if let Some(account) = app.accounts.get(&id.account) {
            return Ok(AccountDocument::of_written(app, account, &self.live, self.clock.now()));
        }
        match self.store.as_ref().filter(|_| app.takes_accounts()) {
            Some(store) => {
                let stored = store.account(id).await?.ok_or_else(|| AccountsError::no_such_account(id))?;
                Ok(AccountDocument::of_stored(app, &stored, &self.live, &self.clock))
            }
            None => Err(AccountsError::no_such_account(id)),
        }
    }

    /// Adds an app's accounts in order, until there is one more than asked for.
    async fn page_of(
        &self,
        app: &Arc<App>,
        after: Option<AccountName>,
        query: &Query,
        out: &mut Vec<AccountDocument>,
    ) -> Result<(), AccountsError> {
        let comes_after = |name: &AccountName| after.as_ref().is_none_or(|after| name > after);
        let now = self.clock.now();
        let written: Vec<AccountDocument> = app
            .accounts
            .values()
            .filter(|account| comes_after(&account.id.account))
            .map(|account| AccountDocument::of_written(app, account, &self.live, now))
            .collect();
        let mut written = written.into_iter().peekable();
        let mut room = |document: AccountDocument| {
            if is_wanted(&document, query.state.as_deref()) {
                out.push(document);
            }
            out.len() <= query.limit
        };
        let store = self.store.as_ref().filter(|_| app.takes_accounts());
        let mut last = after.clone();
        while let Some(store) = store {
            let after = last.clone().map(|account| (app.name.clone(), account));
            let batch = store.page(PageQuery { app: Some(app.name.clone()), after, limit: BATCH }).await?;
            for stored in &batch {
                let document = AccountDocument::of_stored(app, stored, &self.live, &self.clock);
                while let Some(earlier) = written.next_if(|written| written.account < document.account) {
                    if !room(earlier) {
                        return Ok(());
                    }
                }
                // What stands in the configuration goes before a record of the same name.
                let hidden = written.peek().is_some_and(|written| written.account == document.account);
                if !hidden && !room(document) {
                    return Ok(());
                }
            }
            match batch.last() {
                Some(stored) if batch.len() == BATCH => last = Some(stored.id().account.clone()),
                _ => break,
            }
        }
        for document in written {
            if !room(document) {
                break;
            }
        }
        Ok(())
    }
}

fn is_wanted(document: &AccountDocument, state: Option<&str>) -> bool {
    state.is_none_or(|state| state == document.state || Some(state) == document.reason.as_deref())
}
