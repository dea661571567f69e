//! The launch contract: how other programs start the server.

use crate::harness::{Authority, On, Server, Settings};

/// The file of the contract: what suites, tools and packages write. Only values vary.
const CONTRACT: &str = include_str!("launch.toml");

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_the_contract_is_accepted_as_it_is() {
    let authority = Authority::new();
    let settings = Settings {
        file: Some(CONTRACT.to_owned()),
        ..Settings::default()
    };
    let mut server = Server::with(&authority, On::Sqlite, settings).await;
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    alice.send(&room, "hello").await;
    assert!(server.stop().success());
    server.start_again().await;
    assert_eq!(
        alice.messages(&room).await.len(),
        1,
        "it starts again on the same data"
    );
}
