//! Looking at a database without opening it.

use hearth_storage::inspect;
use hearth_storage::testing::identity;

hearth_storage::both_engines! {
    async fn a_database_tells_whose_it_is_and_an_unused_one_nobodys(scratch: Scratch) {
        let connect_to = scratch.options().connect_to;
        // SQLite has no file yet, and none is made; an empty PostgreSQL schema has no tables.
        assert!(!matches!(inspect::identity(&connect_to).await, Ok(Some(_))));
        assert!(!matches!(inspect::identity(&connect_to).await, Ok(Some(_))));
        let _storage = scratch.open().await;
        let owner = inspect::identity(&connect_to).await.unwrap().unwrap();
        assert_eq!(owner.server_name, identity().server_name);
    }
}
