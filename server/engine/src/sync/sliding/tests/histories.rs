//! Random histories: whatever windows a client looked through, and whichever answers were lost on
//! the way, it ends with what a client of `/v3/sync` is told that begins now.

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::OwnedRoomId;

use super::client::SlidingClient;
use crate::rooms::create::Preset;
use crate::sync::tests::histories::{STEPS, Story};

async fn run(scratch: &Scratch, seed: u64) {
    let mut story = Story::begin(scratch, seed).await;
    let sessions = story.sessions();
    for _ in 0..4 {
        let room: OwnedRoomId = story.house.create("alice", Preset::PublicChat).await;
        story.rooms.push(room);
    }
    let mut clients: Vec<SlidingClient> = sessions.iter().map(SlidingClient::new).collect();
    for number in 0..2 * STEPS {
        story.step(number).await;
        if story.numbers.below(3) == 0 {
            let at = story.numbers.below(clients.len());
            let window = (story.numbers.below(6), 1 + story.numbers.below(4));
            let lost = story.numbers.below(5) == 0;
            clients[at].sync(&story.house, window, lost).await;
        }
        match story.numbers.below(40) {
            0 => {
                story.house.sync.connections().store().await.unwrap();
                story.house = story.house.restarted();
            }
            1 => story.house = story.house.restarted(),
            _ => {}
        }
    }
    for client in &mut clients {
        client.equals_a_new_one(&story.house).await;
    }
}

both_engines! {
    async fn any_windows_show_what_is_there(scratch: Scratch) {
        run(&scratch, 11).await;
    }
}

both_engines! {
    async fn so_they_do_in_another_history(scratch: Scratch) {
        run(&scratch, 4_186).await;
    }
}
