//! What was changed is found; what is copied out is what was stored.

use super::*;

#[tokio::test]
async fn verify_names_a_flipped_byte_of_audio_and_manifest() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (archive, shown) = finished(&world, 60_000).await;
    let audio = audio_path(&shown).to_owned();
    let key = shown.row.ending.clone().unwrap().audio.unwrap().key;
    let size = std::fs::metadata(&audio).unwrap().len();
    for at in [0, 100_000, size - 1] {
        flip(&audio, at as usize);
        let found = archive.verify(&shown.row).await.unwrap();
        let [Finding::AudioChanged { key: named, ranges }] = &found.findings[..] else {
            panic!("{:?}", found.findings);
        };
        assert_eq!(*named, key);
        let from = at / CHUNK_BYTES * CHUNK_BYTES;
        assert_eq!(
            (ranges.len(), ranges[0].clone()),
            (1, from..size.min(from + CHUNK_BYTES))
        );
        assert!(
            found.findings[0]
                .to_string()
                .contains(&format!("in bytes {from} to"))
        );
        let to = world.folder.path().join("copy");
        let error = archive
            .export(&shown.row, ExportFormat::Stored, &to)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ExportError::Changed { .. }) && !to.exists(),
            "{error}"
        );
        flip(&audio, at as usize);
    }
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings, []);

    let manifest = shown.manifest_path.clone().unwrap();
    for at in 0..std::fs::metadata(&manifest).unwrap().len() as usize {
        flip(&manifest, at);
        let found = archive.verify(&shown.row).await.unwrap();
        let named = |finding: &Finding| matches!(finding, Finding::ManifestChanged { .. });
        assert!(
            found.findings.iter().any(named),
            "byte {at}: {:?}",
            found.findings
        );
        flip(&manifest, at);
    }
    std::fs::remove_file(&manifest).unwrap();
    flip(&audio, 5);
    let found = archive.verify(&shown.row).await.unwrap();
    let [
        Finding::Missing { .. },
        Finding::AudioChanged { ranges, .. },
    ] = &found.findings[..]
    else {
        panic!("{:?}", found.findings);
    };
    assert_eq!((ranges.len(), ranges[0].clone()), (1, 0..size));
    std::fs::remove_file(&audio).unwrap();
    assert_eq!(archive.verify(&shown.row).await.unwrap().findings.len(), 2);
}

#[tokio::test]
async fn verify_names_a_changed_column() {
    let world = World::new(RequestedFormat::WavPcm16);
    let (archive, shown) = finished(&world, 5_000).await;
    let file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(world.folder.path().join("catalogue.sqlite"));
    let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
    let texts = [
        "call_id",
        "caller",
        "callee",
        "owner",
        "owner_name",
        "network",
        "nature",
        "correlation",
        "reason",
        "audio_key",
        "audio_sha256",
        "manifest_sha256",
    ];
    let mut changes: Vec<(&str, String)> = texts
        .iter()
        .map(|column| (*column, format!("{column} || 'x'")))
        .collect();
    let numbers = ["ended_at_us", "length_samples", "pauses", "audio_bytes"];
    changes.extend(
        numbers
            .iter()
            .map(|column| (*column, format!("{column} + 1000"))),
    );
    let words = [
        ("opened_at_us", "0"),
        ("direction", "'outbound'"),
        ("mode", "'never'"),
        ("state", "'partial'"),
        ("format", "'ogg_opus'"),
        ("audio_key", "NULL"),
        ("manifest_key", "NULL"),
    ];
    changes.extend(words.map(|(column, value)| (column, value.to_owned())));
    for (column, value) in changes {
        let change = format!(
            "CREATE TEMP TABLE kept AS SELECT * FROM recording; \
            UPDATE recording SET {column} = {value}"
        );
        let mut connection = pool.acquire().await.unwrap();
        let change = sqlx::raw_sql(sqlx::AssertSqlSafe(change));
        change.execute(&mut *connection).await.unwrap();
        let row = archive.catalogue().row(ID).await.unwrap().unwrap();
        let found = archive.verify(&row).await.unwrap();
        assert!(!found.findings.is_empty(), "{column}");
        let back =
            "DELETE FROM recording; INSERT INTO recording SELECT * FROM kept; DROP TABLE kept";
        sqlx::raw_sql(back).execute(&mut *connection).await.unwrap();
        let row = archive.catalogue().row(ID).await.unwrap().unwrap();
        assert_eq!(row, shown.row);
    }
    sqlx::query("UPDATE recording SET state = 'recording'")
        .execute(&pool)
        .await
        .unwrap();
    assert!(
        archive.catalogue().row(ID).await.is_err(),
        "such a row cannot be"
    );
}

#[tokio::test]
async fn exports_as_stored_and_as_wav() {
    for format in [
        RequestedFormat::OggOpus,
        RequestedFormat::WavAsReceived,
        RequestedFormat::WavPcm16,
    ] {
        let world = World::new(format);
        let (archive, shown) = finished(&world, 30_001).await;
        let to = world.folder.path().join("copy");
        let copy = archive
            .export(&shown.row, ExportFormat::Stored, &to)
            .await
            .unwrap();
        let stored = std::fs::read(audio_path(&shown)).unwrap();
        assert_eq!(std::fs::read(&copy.path).unwrap(), stored);
        assert_eq!(copy.bytes, stored.len() as u64);
        let error = archive
            .export(&shown.row, ExportFormat::Stored, &to)
            .await
            .unwrap_err();
        assert!(matches!(error, ExportError::Exists { .. }), "{error}");

        let to = world.folder.path().join("copy.wav");
        archive
            .export(&shown.row, ExportFormat::WavPcm16, &to)
            .await
            .unwrap();
        let (coding, [left, right]) = read_wav(&to);
        assert_eq!(
            (coding, left.len(), right.len()),
            (wav::Coding::Pcm16, 30_001, 30_001)
        );
        let sent = through(Law::Mulaw, &voice(30_001, 300.0, 9_000.0));
        match format {
            RequestedFormat::OggOpus => {
                let fit = measure::correlate(&sent[4_000..12_000], &left).unwrap();
                assert!(
                    fit.correlation > 0.9 && fit.offset.abs_diff(4_000) <= 2,
                    "{fit:?}"
                );
            }
            _ => assert!(left == sent),
        }
        let nowhere = world.folder.path().join("no/such/folder/copy.wav");
        let error = archive
            .export(&shown.row, ExportFormat::WavPcm16, &nowhere)
            .await
            .unwrap_err();
        assert!(matches!(error, ExportError::Target { .. }), "{error}");
    }
}
