use super::*;
use crate::format::StoredFormat;
use crate::wire::{Class, Direction, Mode, Nature, Network, Opening};

fn row(number: u128) -> Row {
    let opening = Opening {
        call_id: format!("call-{number}"),
        caller: format!("sip:+3120{number}@trunk"),
        callee: "sip:200@duolog".to_owned(),
        direction: Direction::Inbound,
        owner: if number.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }
        .to_owned(),
        owner_name: Some("Ann'; DROP TABLE recording; --".to_owned()),
        mode: Mode::Always,
        ..Opening::default()
    };
    let at = WallTime(1_000_000 + number as i64 * 1_000);
    Row::opened(RecordingId(number << 64), at, &opening)
}

fn ended(number: u128, state: EndState, attempt: &str) -> Row {
    let audio = AudioRef {
        key: format!("1970/01/01/x/{attempt}/audio.ogg"),
        format: StoredFormat::OggOpus,
        bytes: 12_345,
        sha256: "aa".repeat(32),
    };
    let key = format!("1970/01/01/x/{attempt}/manifest.json");
    let ending = RowEnding {
        state,
        reason: "because".to_owned(),
        at: WallTime(9_000_000),
        length_samples: 80_000,
        pauses: 2,
        audio: Some(audio),
        manifest: Some(ManifestRef {
            key,
            sha256: "bb".repeat(32),
        }),
    };
    Row {
        ending: Some(ending),
        ..row(number)
    }
}

async fn catalogue() -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.sqlite"))
        .await
        .unwrap();
    (folder, catalogue)
}

fn ids(rows: &[Row]) -> Vec<u128> {
    rows.iter().map(|row| row.id.0 >> 64).collect()
}

#[tokio::test]
async fn a_row_is_opened_ended_and_stays() {
    let (folder, catalogue) = catalogue().await;
    catalogue.open_rows(&[row(1), row(2)]).await.unwrap();
    catalogue.open_rows(&[row(2)]).await.unwrap();
    assert_eq!(catalogue.row(row(1).id).await.unwrap(), Some(row(1)));
    assert_eq!(catalogue.row(row(9).id).await.unwrap(), None);
    assert_eq!(ids(&catalogue.unfinished().await.unwrap()), [1, 2]);

    let first = ended(1, EndState::Complete, "first");
    assert_eq!(catalogue.end_row(&first).await.unwrap(), Written::Now);
    let second = ended(1, EndState::Partial, "second");
    assert_eq!(catalogue.end_row(&second).await.unwrap(), Written::Before);
    assert_eq!(catalogue.row(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(ids(&catalogue.unfinished().await.unwrap()), [2]);

    catalogue.close().await;
    let again = Catalogue::open(&folder.path().join("catalogue.sqlite"))
        .await
        .unwrap();
    assert_eq!(again.row(first.id).await.unwrap(), Some(first));
}

#[tokio::test]
async fn a_row_that_was_never_opened_can_end() {
    let (_folder, catalogue) = catalogue().await;
    let only = ended(3, EndState::Interrupted, "only");
    assert_eq!(catalogue.end_row(&only).await.unwrap(), Written::Now);
    assert_eq!(catalogue.row(only.id).await.unwrap(), Some(only));
}

#[tokio::test]
async fn a_failed_row_gives_way_to_a_recording_that_turns_up() {
    let (_folder, catalogue) = catalogue().await;
    catalogue.open_rows(&[row(1)]).await.unwrap();
    let failed = catalogue
        .fail_row(row(1).id, WallTime(5), "nothing in the spool")
        .await;
    assert_eq!(failed.unwrap(), Written::Now);
    let found = catalogue.row(row(1).id).await.unwrap().unwrap();
    assert_eq!(found.state(), State::Ended(EndState::Failed));
    assert_eq!(found.ending.unwrap().reason, "nothing in the spool");

    let late = ended(1, EndState::Interrupted, "late");
    assert_eq!(catalogue.end_row(&late).await.unwrap(), Written::Now);
    let failed = catalogue.fail_row(row(1).id, WallTime(5), "again").await;
    assert_eq!(failed.unwrap(), Written::Before);
    assert_eq!(catalogue.row(row(1).id).await.unwrap(), Some(late));
}

#[tokio::test]
async fn lists_with_filters_and_pages() {
    let (_folder, catalogue) = catalogue().await;
    let rows: Vec<Row> = (1..=6).map(row).collect();
    catalogue.open_rows(&rows).await.unwrap();
    catalogue
        .end_row(&ended(4, EndState::Partial, "a"))
        .await
        .unwrap();

    let check = async |filter: Filter, limit: u32, expected: &[u128]| {
        let found = catalogue.list(&filter, limit).await.unwrap();
        assert_eq!(ids(&found), expected, "{filter:?}");
    };
    let owner = |owner: &str| Filter {
        owner: Some(owner.to_owned()),
        ..Filter::default()
    };
    let party = |party: &str| Filter {
        party: Some(party.to_owned()),
        ..Filter::default()
    };
    let state = |state| Filter {
        state: Some(state),
        ..Filter::default()
    };
    check(Filter::default(), 100, &[6, 5, 4, 3, 2, 1]).await;
    check(Filter::default(), 2, &[6, 5]).await;
    check(Filter::default(), 0, &[]).await;
    check(owner("even"), 100, &[6, 4, 2]).await;
    check(owner("nobody' OR 1=1"), 100, &[]).await;
    check(state(State::Ended(EndState::Partial)), 100, &[4]).await;
    check(state(State::Recording), 2, &[6, 5]).await;
    check(party("+31203"), 100, &[3]).await;
    check(party("%"), 100, &[]).await;
    let call = Filter {
        call_id: Some("call-5".to_owned()),
        ..Filter::default()
    };
    check(call, 100, &[5]).await;
    let (from, until) = (Some(row(2).opened_at), Some(row(4).opened_at));
    check(
        Filter {
            since: from,
            until,
            ..Filter::default()
        },
        100,
        &[3, 2],
    )
    .await;
    let after = Some((row(5).opened_at, row(5).id));
    check(
        Filter {
            after,
            ..Filter::default()
        },
        2,
        &[4, 3],
    )
    .await;
}

#[tokio::test]
async fn finds_by_the_beginning_of_an_id() {
    let (_folder, catalogue) = catalogue().await;
    let named = |id: u128| Row {
        id: RecordingId(id),
        ..row(1)
    };
    let (one, two) = (named(0x018f_3c6a << 96), named(0x018f_3c7b << 96));
    catalogue
        .open_rows(&[one.clone(), two.clone()])
        .await
        .unwrap();
    assert_eq!(catalogue.find("rec_018f3c6").await.unwrap(), one);
    assert_eq!(catalogue.find("018F3C7B-0000").await.unwrap(), two);
    assert_eq!(catalogue.find(&recording_text(two.id)).await.unwrap(), two);
    let error = catalogue.find("018f3c").await.unwrap_err();
    assert!(matches!(error, CatalogueError::Ambiguous { .. }), "{error}");
    assert!(matches!(
        catalogue.find("ff").await,
        Err(CatalogueError::Nothing { .. })
    ));
    assert!(matches!(
        catalogue.find("zz").await,
        Err(CatalogueError::Id(_))
    ));
}

#[tokio::test]
async fn a_newer_catalogue_and_a_damaged_row_are_named() {
    let (folder, catalogue) = catalogue().await;
    catalogue.open_rows(&[row(1)]).await.unwrap();
    let broken = sqlx::query("UPDATE recording SET id = 'rec_no', mode = 'x'");
    broken.execute(&catalogue.writer).await.unwrap();
    let error = catalogue.list(&Filter::default(), 10).await.unwrap_err();
    assert!(matches!(error, CatalogueError::Row { .. }), "{error}");

    let newer = sqlx::query("INSERT INTO migration (version) VALUES (99)");
    newer.execute(&catalogue.writer).await.unwrap();
    catalogue.close().await;
    let error = Catalogue::open(&folder.path().join("catalogue.sqlite"))
        .await
        .unwrap_err();
    let CatalogueError::Schema {
        source: SchemaError::Newer { found, known },
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((found, known), (99, 4));
    let missing = Catalogue::open(&folder.path().join("no/such/folder/c.sqlite")).await;
    assert!(matches!(missing, Err(CatalogueError::Open { .. })));
}

/// A catalogue of the first schema, with a row as it was written then.
#[tokio::test]
async fn the_first_catalogues_are_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.sqlite");
    let old = SqliteConnectOptions::new().create_if_missing(true);
    let old = SqlitePool::connect_with(old.filename(&path)).await.unwrap();
    let id = recording_text(row(1).id);
    for statement in [
        "CREATE TABLE migration (version INTEGER PRIMARY KEY NOT NULL, applied_at TEXT) STRICT",
        schema::STEPS[0],
        "INSERT INTO migration (version) VALUES (1)",
    ] {
        sqlx::raw_sql(statement).execute(&old).await.unwrap();
    }
    let insert = sqlx::query(
        "INSERT INTO recording (id, call_id, caller, callee, direction, owner, mode, opened_at_us, \
         state) VALUES (?1, 'call-1', '+31', '200', 'inbound', 'anna', 'always', 5, 'recording')",
    );
    insert.bind(id).execute(&old).await.unwrap();
    old.close().await;

    let catalogue = Catalogue::open(&path).await.unwrap();
    let found = catalogue.row(row(1).id).await.unwrap().unwrap();
    assert_eq!(found.call.call_id, "call-1");
    assert_eq!((found.call.class, found.call.correlation), (None, None));
    assert_eq!(catalogue.owner_settings().await.unwrap(), []);
    let done = ended(1, EndState::Complete, "now");
    assert_eq!(catalogue.end_row(&done).await.unwrap(), Written::Now);
    assert_eq!(catalogue.row(row(1).id).await.unwrap(), Some(done));
}

#[tokio::test]
async fn recordings_of_one_chain_of_calls_are_found_together() {
    let (_folder, catalogue) = catalogue().await;
    let chained = |number: u128, correlation: &str| {
        let mut row = ended(number, EndState::Complete, "a");
        row.call.correlation = Some(correlation.to_owned());
        row.call.class = Some(Class {
            network: Network::Internal,
            nature: Nature::Voicemail,
        });
        row
    };
    let rows = [chained(1, "aa"), chained(2, "bb"), chained(3, "aa")];
    catalogue.open_rows(&rows[..2]).await.unwrap();
    catalogue.open_rows(&[row(4)]).await.unwrap();
    for row in &rows {
        catalogue.end_row(row).await.unwrap();
    }
    let filter = Filter {
        correlation: Some("aa".to_owned()),
        ..Filter::default()
    };
    let found = catalogue.list(&filter, 10).await.unwrap();
    assert_eq!(found, [rows[2].clone(), rows[0].clone()]);
    assert_eq!(
        ids(&catalogue.list(&Filter::default(), 10).await.unwrap()).len(),
        4
    );
}

/// A message of so many samples that was left for anna.
fn message(number: u128, length_samples: u64) -> Row {
    let mut row = ended(number, EndState::Complete, "a");
    row.call.owner = "anna".to_owned();
    row.call.is_message = true;
    row.ending.as_mut().unwrap().length_samples = length_samples;
    row
}

async fn counted(catalogue: &Catalogue, owner: &str) -> (u32, u32) {
    let counts = catalogue.messages(owner).await.unwrap();
    (counts.new, counts.old)
}

#[tokio::test]
async fn messages_are_counted_for_whom_they_were_left() {
    let (_folder, catalogue) = catalogue().await;
    let mut silent = message(4, 80_000);
    silent.ending.as_mut().unwrap().audio = None;
    let mut other = message(5, 80_000);
    other.call.owner = "somebody else".to_owned();
    // A recorded call with somebody else's voicemail system, by whatever number.
    let mut call = message(6, 80_000);
    call.call.is_message = false;
    call.call.class = Some(Class {
        network: Network::Pstn,
        nature: Nature::Voicemail,
    });
    let rows = [
        message(1, 80_000),
        message(2, 8_000),
        // The caller hung up at the beep.
        message(3, 7_999),
        silent,
        other,
        call,
    ];
    catalogue.open_rows(&rows[..3]).await.unwrap();
    for row in &rows {
        catalogue.end_row(row).await.unwrap();
    }
    let found = catalogue.row(rows[0].id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&rows[0]));
    assert_eq!(counted(&catalogue, "anna").await, (2, 0));
    assert_eq!(counted(&catalogue, "somebody else").await, (1, 0));
    assert_eq!(counted(&catalogue, "anna' OR 1=1").await, (0, 0));
}

#[tokio::test]
async fn a_message_is_heard_and_new_again() {
    let (folder, catalogue) = catalogue().await;
    let mut call = message(3, 80_000);
    call.call.is_message = false;
    for row in [message(1, 80_000), message(2, 80_000), call] {
        catalogue.end_row(&row).await.unwrap();
    }
    let open = Row {
        ending: None,
        ..message(4, 80_000)
    };
    catalogue.open_rows(&[open]).await.unwrap();
    let hear = async |number: u128, at: Option<i64>| {
        let id = RecordingId(number << 64);
        let heard = catalogue.hear_message(id, at.map(WallTime)).await;
        heard.unwrap()
    };
    let anna = Some("anna".to_owned());
    assert_eq!(hear(1, Some(50)).await, anna);
    assert_eq!(counted(&catalogue, "anna").await, (1, 1));
    // Twice is once.
    assert_eq!(hear(1, Some(90)).await, anna);
    assert_eq!(counted(&catalogue, "anna").await, (1, 1));
    let at = sqlx::query_scalar("SELECT heard_at_us FROM recording WHERE heard_at_us IS NOT NULL");
    let at: Vec<i64> = at.fetch_all(&catalogue.readers).await.unwrap();
    assert_eq!(at, [50]);
    // A call is no message; neither is one that is not stored yet, or one that nobody left.
    for number in [3, 4, 9] {
        assert_eq!(hear(number, Some(50)).await, None, "{number}");
    }
    // What ended later changes nothing of it.
    let again = catalogue.end_row(&message(1, 80_000)).await.unwrap();
    assert_eq!(again, Written::Before);
    assert_eq!(counted(&catalogue, "anna").await, (1, 1));
    assert_eq!(hear(1, None).await, anna);
    assert_eq!(hear(1, None).await, anna);
    assert_eq!(counted(&catalogue, "anna").await, (2, 0));
    assert_eq!(hear(2, Some(60)).await, anna);
    catalogue.close().await;
    let path = folder.path().join("catalogue.sqlite");
    let again = Catalogue::open(&path).await.unwrap();
    assert_eq!(counted(&again, "anna").await, (1, 1));
}

/// Every older catalogue, with a row of a call to somebody else's voicemail.
#[tokio::test]
async fn older_catalogues_learn_of_messages() {
    for version in 1..schema::STEPS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        let old = SqliteConnectOptions::new().create_if_missing(true);
        let old = SqlitePool::connect_with(old.filename(&path)).await.unwrap();
        let table = "CREATE TABLE migration (version INTEGER PRIMARY KEY NOT NULL, \
                     applied_at TEXT NOT NULL DEFAULT 'then') STRICT";
        sqlx::raw_sql(table).execute(&old).await.unwrap();
        for (step, number) in schema::STEPS.iter().zip(1i64..).take(version) {
            sqlx::raw_sql(*step).execute(&old).await.unwrap();
            let taken = sqlx::query("INSERT INTO migration (version) VALUES (?1)").bind(number);
            taken.execute(&old).await.unwrap();
        }
        let insert = sqlx::query(
            "INSERT INTO recording (id, call_id, caller, callee, direction, owner, mode, \
             opened_at_us, state, audio_key, format, length_samples) \
             VALUES (?1, 'c', '+31', '200', 'inbound', 'anna', 'always', 5, 'complete', 'k', \
             'ogg_opus', 80000)",
        );
        let id = row(1).id;
        insert.bind(recording_text(id)).execute(&old).await.unwrap();
        old.close().await;

        let catalogue = Catalogue::open(&path).await.unwrap();
        let found = catalogue.row(id).await.unwrap().unwrap();
        assert!(!found.call.is_message, "schema {version}");
        assert_eq!(counted(&catalogue, "anna").await, (0, 0));
        let heard = catalogue.hear_message(id, Some(WallTime(9))).await;
        assert_eq!(heard.unwrap(), None, "schema {version}");
        catalogue.end_row(&message(2, 80_000)).await.unwrap();
        assert_eq!(counted(&catalogue, "anna").await, (1, 0));
    }
}

#[tokio::test]
async fn many_write_while_others_list() {
    let (_folder, catalogue) = catalogue().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8u128 {
        let catalogue = catalogue.clone();
        tasks.spawn(async move {
            for number in 0..10u128 {
                let id = 1 + writer * 10 + number;
                catalogue.open_rows(&[row(id)]).await.unwrap();
                catalogue
                    .end_row(&ended(id, EndState::Complete, "a"))
                    .await
                    .unwrap();
            }
        });
    }
    for _ in 0..4 {
        let catalogue = catalogue.clone();
        tasks.spawn(async move {
            let mut seen = 0;
            while seen < 80 {
                let now = catalogue
                    .list(&Filter::default(), 1_000)
                    .await
                    .unwrap()
                    .len();
                assert!(now >= seen, "rows never go away");
                seen = now;
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(catalogue.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_owner_s_document_is_stored_replaced_and_found_again() {
    let (folder, catalogue) = catalogue().await;
    let store = async |owner: &str, document: &str, at: i64, by: &str| {
        let stored = catalogue.store_owner_setting(owner, document, WallTime(at), by);
        stored.await.unwrap()
    };
    assert_eq!(catalogue.owner_setting("anna").await.unwrap(), None);
    assert_eq!(store("anna", "{\"mode\":\"always\"}", 5, "crm").await, 1);
    assert_eq!(store("ben'; --", "{}", 6, "crm").await, 1);
    assert_eq!(store("anna", "any text", 7, "admin").await, 2);
    catalogue.close().await;

    let again = Catalogue::open(&folder.path().join("catalogue.sqlite"))
        .await
        .unwrap();
    let anna = OwnerSetting {
        owner: "anna".to_owned(),
        document: "any text".to_owned(),
        version: 2,
        changed_at: WallTime(7),
        changed_by: "admin".to_owned(),
    };
    assert_eq!(
        again.owner_setting("anna").await.unwrap(),
        Some(anna.clone())
    );
    let all = again.owner_settings().await.unwrap();
    let names: Vec<&str> = all.iter().map(|found| found.owner.as_str()).collect();
    assert_eq!(names, ["anna", "ben'; --"]);
    assert_eq!(all[0], anna);
}
