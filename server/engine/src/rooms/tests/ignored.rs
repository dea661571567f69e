//! Of whom people want to hear nothing.

use super::*;
use crate::accounts::Accounts;
use crate::rooms::ignored::IGNORED_USER_LIST;

both_engines! {
    async fn whoever_ignores_themselves_goes_on_reading_what_they_say(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let accounts = Accounts::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        for name in ["alice", "bob"] {
            rooms.send(&room_id, message(name, name)).await.unwrap();
        }
        let alice = server.context.storage.user_find("@alice:one.test").await.unwrap().unwrap();
        let list = json!({ "ignored_users": { "@alice:one.test": {}, "@bob:one.test": {} } });
        let list = list.to_string();
        accounts.set_account_data(alice, None, IGNORED_USER_LIST, list.as_bytes()).await.unwrap();
        rooms.ignored.changed(alice, IGNORED_USER_LIST);
        assert_eq!(read(&server, &rooms, &room_id, "alice").await, ["alice"]);
    }
}
