//! Two people with matrix-sdk and its UI crate, the client under Element X: all they learn, they
//! learn by sliding sync. They register, meet in an encrypted room, talk both ways; one sees the other
//! type and read; they verify each other, and one backs up her keys and restores them on a new device.
//!
//! Runs inside scripts/two-servers.sh, against the first server. Each chapter asserts what they see.
#![recursion_limit = "256"]

mod person;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use matrix_sdk::RoomState;
use matrix_sdk::encryption::verification::{
    SasState, SasVerification, Verification, VerificationRequest, VerificationRequestState,
};
use matrix_sdk::ruma::api::client::room::create_room::v3 as create_room;
use matrix_sdk::ruma::events::key::verification::VerificationMethod;
use matrix_sdk::ruma::events::receipt::{ReceiptThread, ReceiptType};
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::{EmptyStateKey, InitialStateEvent};
use matrix_sdk::ruma::{OwnedRoomId, RoomId};
use person::{DEADLINE, Person, until};

/// One chapter after the other must be over by then.
const STORY: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::var("HEARTH_E2E_ONE").context("run me inside scripts/two-servers.sh")?;
    // Its name under .localhost is for browsers; not every resolver knows it.
    let port = server.rsplit(':').next().unwrap_or_default();
    let server = format!("http://127.0.0.1:{port}");
    tokio::time::timeout(STORY, story(&server))
        .await
        .context("the story takes too long")?
}

async fn story(server: &str) -> Result<()> {
    let alice = Person::register(server, "alice").await?;
    let bob = Person::register(server, "bob").await?;
    let room_id = meet(&alice, &bob).await?;
    talk(&alice, &bob, &room_id).await?;
    notice(&alice, &bob, &room_id).await?;
    verify(&alice, &bob).await?;
    restore(&alice, &room_id).await?;
    for person in [&alice, &bob] {
        person.stop().await;
    }
    println!(
        "matrix-sdk: met, talked, saw each other type and read, verified each other, restored keys"
    );
    Ok(())
}

/// Alice makes an encrypted room and invites Bob, who joins.
async fn meet(alice: &Person, bob: &Person) -> Result<OwnedRoomId> {
    let encryption = InitialStateEvent::new(
        EmptyStateKey,
        RoomEncryptionEventContent::with_recommended_defaults(),
    );
    let mut request = create_room::Request::new();
    request.name = Some("Allotments".to_owned());
    request.invite = vec![bob.user_id().to_owned()];
    request.initial_state = vec![encryption.to_raw_any()];
    let made = alice.client.create_room(request).await?;
    let room_id = made.room_id().to_owned();
    let is = async |person: &Person, state| {
        person
            .client
            .get_room(&room_id)
            .is_some_and(|room| room.state() == state)
    };
    until("the invitation", async || {
        is(bob, RoomState::Invited).await.then_some(())
    })
    .await?;
    bob.client
        .get_room(&room_id)
        .context("the room")?
        .join()
        .await?;
    until("the joined room", async || {
        is(bob, RoomState::Joined).await.then_some(())
    })
    .await?;
    for person in [alice, bob] {
        until("both people in the room", async || {
            let room = person.client.get_room(&room_id)?;
            let is_known = room.joined_members_count() == 2
                && room.encryption_state().is_encrypted()
                && room.name().as_deref() == Some("Allotments");
            is_known.then_some(())
        })
        .await?;
    }
    Ok(room_id)
}

async fn talk(alice: &Person, bob: &Person, room_id: &RoomId) -> Result<()> {
    for (from, to, text) in [
        (alice, bob, "How are the beans?"),
        (bob, alice, "Knee-high."),
        (alice, bob, "And the cabbages?"),
    ] {
        from.say(room_id, text).await?;
        to.hears(room_id, from.user_id(), text).await?;
    }
    Ok(())
}

/// Alice sees that Bob types, and how far he has read.
async fn notice(alice: &Person, bob: &Person, room_id: &RoomId) -> Result<()> {
    let (_listening, mut typing) = alice.room(room_id)?.subscribe_to_typing_notifications();
    bob.room(room_id)?.typing_notice(true).await?;
    let who = tokio::time::timeout(DEADLINE, typing.recv()).await??;
    ensure!(who == [bob.user_id()], "{who:?} type");
    let event_id = bob.reads(room_id).await?;
    until("Bob's receipt", async || {
        let (kind, thread) = (ReceiptType::Read, ReceiptThread::Unthreaded);
        let room = alice.room(room_id).ok()?;
        let receipt = room.load_user_receipt(kind, thread, bob.user_id()).await;
        (receipt.ok()??.0 == event_id).then_some(())
    })
    .await
}

/// They compare emoji, as two people who meet would.
async fn verify(alice: &Person, bob: &Person) -> Result<()> {
    let device = until("Bob's device", async || {
        let devices = alice
            .client
            .encryption()
            .get_user_devices(bob.user_id())
            .await
            .ok()?;
        devices.devices().next()
    })
    .await?;
    ensure!(!device.is_verified(), "nobody has verified anything yet");
    let methods = || vec![VerificationMethod::SasV1];
    let asked = device.request_verification_with_methods(methods()).await?;
    let flow = asked.flow_id().to_owned();
    let received = until("the request", async || {
        bob.client
            .encryption()
            .get_verification_request(alice.user_id(), &flow)
            .await
    })
    .await?;
    received.accept_with_methods(methods()).await?;
    until("a request that is ready", async || {
        asked.is_ready().then_some(())
    })
    .await?;
    let begun = asked
        .start_sas()
        .await?
        .context("a verification that begins")?;
    let other = transitioned(&received).await?;
    other.accept().await?;
    let (mine, theirs) = (emoji(&begun).await?, emoji(&other).await?);
    ensure!(mine == theirs, "{mine:?} and {theirs:?} are what they see");
    begun.confirm().await?;
    other.confirm().await?;
    for sas in [&begun, &other] {
        until("the end of the verification", async || {
            sas.is_done().then_some(())
        })
        .await?;
    }
    for (who, whom) in [(alice, bob), (bob, alice)] {
        until("the other's verified identity", async || {
            let identity = who
                .client
                .encryption()
                .request_user_identity(whom.user_id())
                .await;
            identity.ok()??.is_verified().then_some(())
        })
        .await?;
    }
    Ok(())
}

async fn transitioned(request: &VerificationRequest) -> Result<SasVerification> {
    let mut changes = Box::pin(request.changes());
    let mut state = request.state();
    loop {
        if let VerificationRequestState::Transitioned { verification } = state {
            let Verification::SasV1(sas) = verification else {
                anyhow::bail!("emoji were asked for, not {verification:?}");
            };
            return Ok(sas);
        }
        state = changes.next().await.context("the verification went on")?;
    }
}

/// What somebody sees on their screen.
async fn emoji(sas: &SasVerification) -> Result<Vec<&'static str>> {
    until("the emoji", async || match sas.state() {
        SasState::KeysExchanged { emojis, .. } => {
            Some(emojis?.emojis.iter().map(|emoji| emoji.symbol).collect())
        }
        _ => None,
    })
    .await
}

/// Alice backs her keys up; a new device of hers reads what was said before it was there.
async fn restore(alice: &Person, room_id: &RoomId) -> Result<()> {
    let recovery_key = alice
        .client
        .encryption()
        .recovery()
        .enable()
        .wait_for_backups_to_upload()
        .await?;
    let new = alice.another_device().await?;
    new.client
        .encryption()
        .recovery()
        .recover(&recovery_key)
        .await?;
    until("the new device in the room", async || {
        new.client.get_room(room_id)
    })
    .await?;
    new.client
        .encryption()
        .backups()
        .download_room_keys_for_room(room_id)
        .await?;
    new.reads_back(room_id, "How are the beans?").await?;
    new.stop().await;
    Ok(())
}
