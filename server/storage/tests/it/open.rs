//! Opening: whose database it is, and of which version.

use hearth_storage::testing;
use hearth_storage::{Storage, both_engines};

both_engines! {
    async fn a_database_of_another_server_is_refused(scratch: Scratch) {
        drop(scratch.open().await);
        let mut other = testing::identity();
        other.server_name = "two.test".to_owned();
        let refusal = Storage::open(&scratch.options(), &other).await.err().unwrap().to_string();
        assert!(refusal.contains("belongs to one.test"), "{refusal}");
    }
}

both_engines! {
    async fn a_lost_signing_key_is_refused(scratch: Scratch) {
        drop(scratch.open().await);
        let mut other = testing::identity();
        other.signing_key_fingerprint = "another".to_owned();
        let refusal = Storage::open(&scratch.options(), &other).await.err().unwrap().to_string();
        assert!(refusal.contains("put the old key file back"), "{refusal}");
    }
}

both_engines! {
    async fn the_generation_of_a_database_stays(scratch: Scratch) {
        drop(scratch.open().await);
        let mut again = testing::identity();
        again.generation = "another".to_owned();
        let (storage, _background) =
            Storage::open(&scratch.options(), &again).await.expect("it opens");
        assert_eq!(storage.identity().generation, testing::identity().generation);
    }
}

both_engines! {
    async fn a_database_of_a_newer_version_is_refused(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999999, 'the future', TRUE, '', 0)",
        )
        .await;
        drop(storage);
        let refusal = Storage::open(&scratch.options(), &testing::identity())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(refusal.contains("newer version of Hearth"), "{refusal}");
    }
}

/// After a clean end the one file holds everything: it can be copied as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_end_leaves_no_log_behind() {
    let scratch = testing::Scratch::new(testing::On::Sqlite).await;
    let (storage, background) = Storage::open(&scratch.options(), &testing::identity())
        .await
        .unwrap();
    let mut writer = tokio::task::JoinSet::new();
    writer.spawn(background.writer.run());
    for number in 0..100 {
        storage
            .user_intern(&format!("@u{number}:one.test"), "one.test")
            .await
            .unwrap();
    }
    let log = scratch.file("hearth.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    drop((storage, background.checkpointer));
    writer.join_all().await;
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0);
}
