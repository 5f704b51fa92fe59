//! What any store promises, proved on each form of it.

use std::time::Duration;

use marketgate::{
    secret::Secret,
    store::{
        Begun, CallLog, Grant, Intent, LoginReason, MemoryStore, OpenIntent, Origin, PageQuery, ParkReason,
        Record, Replaced, Standing, Store, Stored, Unrevoked,
    },
};

use super::store_fixture::{
    at, consent, content, everything, fast_directory, id, intent, open, read, record, refresh_token, whole,
};

macro_rules! promises {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::MemoryStore::new()).await;
            })*
        }
        mod in_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let dir = super::fast_directory();
                super::$name(&super::open(dir.path())).await;
            })*
        }
    };
}

promises! {
    a_record_comes_back_as_it_was_written
    a_change_names_the_generation_it_was_made_from
    a_removed_account_is_gone_with_all_that_belongs_to_it
    an_intent_stays_open_until_it_is_closed_or_the_record_changes
    an_intent_for_another_generation_is_refused
    a_refresh_token_names_the_account_that_held_it
    an_access_token_that_another_account_has_is_not_taken
    a_seller_is_found_by_name_within_the_app
    what_is_still_to_be_revoked_is_kept_with_the_account
    calls_count_until_their_window_has_passed
    a_consent_is_taken_once
    consents_that_have_ended_are_forgotten
    pages_come_in_the_order_of_app_and_account
    a_page_tells_of_each_account_what_is_told_of_it_alone
    a_write_goes_on_when_nobody_waits_for_it
    a_probe_changes_nothing
}

async fn put(store: &dyn Store, name: &str, generation: u64) -> Replaced {
    store.replace(record(name, generation), Origin::Rotated).await.unwrap()
}

async fn a_record_comes_back_as_it_was_written(store: &dyn Store) {
    let full = record("depop@shop", 1);
    let client = Grant::Client { id: "id".into(), secret: marketgate::secret::Secret::new("s\u{e4}\"\\\n") };
    let variants = [
        full.clone(),
        Record { grant: None, token: None, identity: None, consented_at: None, ..full.clone() },
        Record {
            grant: Some(client),
            standing: Standing::LoginRequired(LoginReason::RotationResponseLost),
            ..full.clone()
        },
        Record { standing: Standing::Parked(ParkReason::EnvironmentChanged), ..full.clone() },
        Record {
            standing: Standing::IdentityMismatch { found: "who".into() },
            settings: [].into(),
            ..full.clone()
        },
        Record { created_at: std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(9), ..full },
    ];
    assert!(store.account(&id("depop@shop")).await.unwrap().is_none());
    for (variant, generation) in variants.into_iter().zip(1..) {
        let written = Record { generation, ..variant };
        assert_eq!(store.replace(written.clone(), Origin::Kept).await.unwrap(), Replaced::Durable);
        let found = read(store, "depop@shop").await;
        assert_eq!(content(&found), content(&written));
    }
    let Some(Grant::Refresh { token, .. }) = read(store, "depop@shop").await.grant else {
        panic!("another grant")
    };
    assert_eq!(token.expose(), "refresh-depop@shop-1");
}

async fn a_change_names_the_generation_it_was_made_from(store: &dyn Store) {
    for generation in [0, 2, 999] {
        assert_eq!(put(store, "depop@shop", generation).await, Replaced::Newer, "{generation}");
    }
    assert_eq!(put(store, "depop@shop", 1).await, Replaced::Durable);
    assert_eq!(put(store, "depop@shop", 2).await, Replaced::Durable);
    for generation in [1, 2, 4] {
        assert_eq!(put(store, "depop@shop", generation).await, Replaced::Newer, "{generation}");
    }
    assert_eq!(content(&read(store, "depop@shop").await), content(&record("depop@shop", 2)));
    assert_eq!(put(store, "depop@other", 1).await, Replaced::Durable);
}

async fn a_removed_account_is_gone_with_all_that_belongs_to_it(store: &dyn Store) {
    put(store, "depop@shop", 1).await;
    store.begin(intent("depop@shop", 1, at(5))).await.unwrap();
    assert_eq!(store.remove(&id("depop@shop"), 2).await.unwrap(), Replaced::Newer);
    assert_eq!(store.remove(&id("depop@other"), 1).await.unwrap(), Replaced::Newer);
    assert_eq!(store.remove(&id("depop@other"), 0).await.unwrap(), Replaced::Newer);
    assert_eq!(store.remove(&id("depop@shop"), 1).await.unwrap(), Replaced::Durable);
    assert!(store.account(&id("depop@shop")).await.unwrap().is_none());
    assert!(store.open_intents().await.unwrap().is_empty());
    assert!(store.holder(&refresh_token("depop@shop", 1)).await.unwrap().is_none());
    assert_eq!(store.count(None).await.unwrap(), 0);
    assert_eq!(put(store, "depop@shop", 1).await, Replaced::Durable);
}

async fn an_intent_stays_open_until_it_is_closed_or_the_record_changes(store: &dyn Store) {
    put(store, "depop@shop", 1).await;
    for showing in 1..=2 {
        assert_eq!(store.begin(intent("depop@shop", 1, at(10 * showing))).await.unwrap(), Begun::Durable);
    }
    let open = Some(OpenIntent { showings: 2, at: at(20) });
    assert_eq!(read(store, "depop@shop").await.intent, open);
    assert_eq!(store.open_intents().await.unwrap(), [id("depop@shop")]);
    store.close(&id("depop@shop"), 2, at(30)).await.unwrap();
    assert_eq!(read(store, "depop@shop").await.intent, open, "a close of another generation does nothing");
    store.close(&id("depop@shop"), 1, at(30)).await.unwrap();
    assert_eq!(read(store, "depop@shop").await.intent, None);
    store.begin(intent("depop@shop", 1, at(40))).await.unwrap();
    assert_eq!(read(store, "depop@shop").await.intent, Some(OpenIntent { showings: 1, at: at(40) }));
    let changed = Record { intent: open, ..record("depop@shop", 2) };
    store.replace(changed, Origin::Rotated).await.unwrap();
    assert_eq!(read(store, "depop@shop").await.intent, None, "what a written record says of it is ignored");
    assert!(store.open_intents().await.unwrap().is_empty());
}

async fn an_intent_for_another_generation_is_refused(store: &dyn Store) {
    assert_eq!(store.begin(intent("depop@shop", 0, at(1))).await.unwrap(), Begun::Newer);
    assert_eq!(store.begin(intent("depop@shop", 1, at(1))).await.unwrap(), Begun::Newer);
    put(store, "depop@shop", 1).await;
    put(store, "depop@shop", 2).await;
    let counted = Intent {
        counted: Some(("endpoint".into(), Duration::from_secs(300))),
        ..intent("depop@shop", 1, at(1))
    };
    assert_eq!(store.begin(counted).await.unwrap(), Begun::Newer);
    assert!(store.open_intents().await.unwrap().is_empty());
    assert_eq!(store.calls("endpoint").await.unwrap(), CallLog::default());
}

async fn a_refresh_token_names_the_account_that_held_it(store: &dyn Store) {
    store.replace(record("depop@shop", 1), Origin::Brought).await.unwrap();
    for generation in 2..=20 {
        put(store, "depop@shop", generation).await;
    }
    store.replace(record("depop@shop", 21), Origin::Kept).await.unwrap();
    for generation in [1, 2, 20] {
        let holder = store.holder(&refresh_token("depop@shop", generation)).await.unwrap();
        assert_eq!(holder, Some(id("depop@shop")), "{generation}");
    }
    assert_eq!(store.holder(&refresh_token("depop@shop", 21)).await.unwrap(), None, "it brought none");
    let taken_over = Record { grant: record("depop@shop", 20).grant, ..record("depop@other", 1) };
    let refused = store.replace(taken_over, Origin::Brought).await.unwrap();
    assert_eq!(refused, Replaced::Held(id("depop@shop")));
    let holder = store.holder(&refresh_token("depop@shop", 20)).await.unwrap();
    assert_eq!(holder, Some(id("depop@shop")), "who has had it keeps it");
    assert!(store.account(&id("depop@other")).await.unwrap().is_none(), "nothing was written");
    store.remove(&id("depop@shop"), 21).await.unwrap();
    let renamed = Record { grant: record("depop@shop", 20).grant, ..record("depop@other", 1) };
    assert_eq!(store.replace(renamed, Origin::Brought).await.unwrap(), Replaced::Durable);
}

async fn an_access_token_that_another_account_has_is_not_taken(store: &dyn Store) {
    let with_token_of = |name: &str, other: Record| Record { token: other.token, ..record(name, 1) };
    put(store, "depop@one", 1).await;
    let stolen = with_token_of("depop@two", record("depop@one", 1));
    assert_eq!(
        store.replace(stolen.clone(), Origin::Rotated).await.unwrap(),
        Replaced::Held(id("depop@one"))
    );
    let access = record("depop@one", 1).token.unwrap().secret;
    assert_eq!(store.holder(&access).await.unwrap(), Some(id("depop@one")));
    let same_seller = Record { identity: record("depop@one", 1).identity, ..stolen.clone() };
    assert_eq!(store.replace(same_seller, Origin::Rotated).await.unwrap(), Replaced::Durable);
    store.remove(&id("depop@two"), 1).await.unwrap();
    // Once it is replaced, it is nobody's.
    put(store, "depop@one", 2).await;
    assert_eq!(store.holder(&access).await.unwrap(), None);
    assert_eq!(store.replace(stolen, Origin::Rotated).await.unwrap(), Replaced::Durable);
}

async fn a_seller_is_found_by_name_within_the_app(store: &dyn Store) {
    put(store, "depop@one", 1).await;
    let named =
        |name: &str, identity: &str| Record { identity: Some(identity.to_owned()), ..record(name, 1) };
    let seller = record("depop@one", 1).identity.unwrap();
    store.replace(named("other@one", &seller), Origin::Brought).await.unwrap();
    assert_eq!(store.pinned(&id("depop@two"), &seller).await.unwrap(), Some(id("depop@one")));
    assert_eq!(store.pinned(&id("depop@one"), &seller).await.unwrap(), None, "it is that account itself");
    assert_eq!(store.pinned(&id("depop@two"), "somebody").await.unwrap(), None);
    let renamed = Record { generation: 2, ..named("depop@one", "somebody") };
    store.replace(renamed, Origin::Kept).await.unwrap();
    assert_eq!(store.pinned(&id("depop@two"), &seller).await.unwrap(), None);
    assert_eq!(store.pinned(&id("depop@two"), "somebody").await.unwrap(), Some(id("depop@one")));
    store.remove(&id("depop@one"), 2).await.unwrap();
    assert_eq!(store.pinned(&id("depop@two"), "somebody").await.unwrap(), None);
}

async fn what_is_still_to_be_revoked_is_kept_with_the_account(store: &dyn Store) {
    let former = Unrevoked { token: Secret::new("former"), since: at(5), ends_at: Some(at(900)) };
    let written = Record { unrevoked: vec![former], shared_seller: true, ..record("depop@one", 1) };
    store.replace(written.clone(), Origin::Brought).await.unwrap();
    let Some(Stored::Whole(read)) = store.account(&id("depop@one")).await.unwrap() else { panic!() };
    assert_eq!(content(&read), content(&written));
    assert_eq!(read.unrevoked[0].token.expose(), "former");
}

async fn calls_count_until_their_window_has_passed(store: &dyn Store) {
    let window = Duration::from_secs(300);
    let call = |name: &str, seconds| Intent {
        counted: Some(("endpoint".to_owned(), window)),
        ..intent(name, 1, at(seconds))
    };
    for name in ["depop@a", "depop@b", "depop@c"] {
        put(store, name, 1).await;
    }
    store.begin(call("depop@a", 10)).await.unwrap();
    store.begin(call("depop@b", 20)).await.unwrap();
    store.begin(call("depop@c", 30)).await.unwrap();
    assert_eq!(store.calls("endpoint").await.unwrap(), CallLog { open: 3, ended: vec![] });
    assert_eq!(store.calls("elsewhere").await.unwrap(), CallLog::default());
    store.replace(Record { changed_at: at(40), ..record("depop@a", 2) }, Origin::Rotated).await.unwrap();
    store.close(&id("depop@b"), 1, at(50)).await.unwrap();
    assert_eq!(store.calls("endpoint").await.unwrap(), CallLog { open: 1, ended: vec![at(40), at(50)] });
    store.begin(call("depop@b", 345)).await.unwrap();
    assert_eq!(store.calls("endpoint").await.unwrap(), CallLog { open: 2, ended: vec![at(50)] });
    store.begin(call("depop@b", 631)).await.unwrap();
    let log = store.calls("endpoint").await.unwrap();
    assert_eq!(log, CallLog { open: 2, ended: vec![] }, "one that never ended counts for two windows");
}

async fn a_consent_is_taken_once(store: &dyn Store) {
    let written = consent("mg_state", at(600));
    store.put_consent(written.clone(), at(0)).await.unwrap();
    let state = |text: &str| marketgate::secret::Secret::new(text);
    assert!(store.take_consent(&state("mg_other")).await.unwrap().is_none());
    let taken = store.take_consent(&state("mg_state")).await.unwrap().unwrap();
    assert_eq!(format!("{taken:?}"), format!("{written:?}"));
    assert!(store.take_consent(&state("mg_state")).await.unwrap().is_none());
}

async fn consents_that_have_ended_are_forgotten(store: &dyn Store) {
    store.put_consent(consent("mg_first", at(600)), at(0)).await.unwrap();
    store.put_consent(consent("mg_second", at(700)), at(100)).await.unwrap();
    store.put_consent(consent("mg_third", at(800)), at(600)).await.unwrap();
    let mut left = Vec::new();
    for state in ["mg_first", "mg_second", "mg_third"] {
        left.extend(
            store.take_consent(&marketgate::secret::Secret::new(state)).await.unwrap().map(|_| state),
        );
    }
    assert_eq!(left, ["mg_second", "mg_third"]);
}

async fn pages_come_in_the_order_of_app_and_account(store: &dyn Store) {
    let names = ["a@1", "a@2", "a@B", "a@a", "b@0", "b@1", "b.c@1"];
    for name in names.iter().rev() {
        put(store, name, 1).await;
    }
    let listed = async |app: Option<&str>, after: Option<&str>, limit| {
        let after = after.map(id).map(|id| (id.app, id.account));
        let query = PageQuery { app: app.map(|app| app.parse().unwrap()), after, limit };
        let page = store.page(query).await.unwrap();
        page.iter().map(|stored| stored.id().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 100).await, names);
    assert_eq!(listed(None, None, 2).await, ["a@1", "a@2"]);
    assert_eq!(listed(None, Some("a@2"), 3).await, ["a@B", "a@a", "b@0"]);
    assert_eq!(listed(None, Some("b.c@1"), 3).await, [""; 0]);
    assert_eq!(listed(Some("b"), None, 100).await, ["b@0", "b@1"]);
    assert_eq!(listed(Some("b"), Some("b@0"), 100).await, ["b@1"]);
    assert_eq!(listed(Some("b"), Some("a@2"), 100).await, ["b@0", "b@1"]);
    assert_eq!(listed(Some("a"), Some("b@0"), 100).await, [""; 0]);
    assert_eq!(listed(Some("c"), None, 100).await, [""; 0]);
    assert_eq!(listed(None, None, 0).await, [""; 0]);
    assert_eq!(store.count(None).await.unwrap(), 7);
    assert_eq!(store.count(Some("a".parse().unwrap())).await.unwrap(), 4);
    assert_eq!(store.count(Some("c".parse().unwrap())).await.unwrap(), 0);
}

async fn a_page_tells_of_each_account_what_is_told_of_it_alone(store: &dyn Store) {
    for name in ["a", "a-b", "b", "c"] {
        put(store, &format!("depop@{name}"), 1).await;
    }
    put(store, "depop@b", 2).await;
    for (name, generation) in [("depop@a", 1), ("depop@b", 2)] {
        store.begin(intent(name, generation, at(10))).await.unwrap();
    }
    let page = everything(store).await;
    let intents: Vec<_> = page.iter().map(|stored| whole(stored.clone()).intent.is_some()).collect();
    assert_eq!(intents, [true, false, true, false]);
    for stored in page {
        let alone = store.account(stored.id()).await.unwrap().unwrap();
        assert_eq!(format!("{stored:?}"), format!("{alone:?}"));
    }
}

async fn a_write_goes_on_when_nobody_waits_for_it(store: &dyn Store) {
    drop(store.replace(record("depop@shop", 1), Origin::Rotated));
    drop(store.begin(intent("depop@shop", 1, at(9))));
    let found = read(store, "depop@shop").await;
    assert_eq!(found.intent, Some(OpenIntent { showings: 1, at: at(9) }));
}

async fn a_probe_changes_nothing(store: &dyn Store) {
    put(store, "depop@shop", 1).await;
    store.probe().await.unwrap();
    let found = everything(store).await;
    assert_eq!(found.len(), 1);
    assert_eq!(content(&read(store, "depop@shop").await), content(&record("depop@shop", 1)));
}
