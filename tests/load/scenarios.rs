//! What can be measured.

mod accounts;
mod ephemeral;
mod idle;
mod mixed;
mod reading;
mod rooms;
mod sending;
mod syncing;

use clap::Subcommand;

use crate::World;
use crate::error::LoadError;

/// One kind of load.
#[derive(Subcommand)]
pub(crate) enum Scenario {
    /// Messages, by several senders in several rooms.
    Send(sending::Send),
    /// Messages into a room of many members, first with nobody listening, then with some of them in a long poll.
    Fanout(sending::Fanout),
    /// The first sync of somebody who is in many rooms.
    SyncInitial(syncing::Initial),
    /// A sync that has nothing new to tell.
    SyncIncremental(syncing::Incremental),
    /// The first window of a sliding sync.
    Sliding(syncing::Sliding),
    /// Pages of a long history.
    Messages(reading::Messages),
    /// The whole state of a room.
    State(reading::State),
    /// Joining a public room of the same server.
    Join(rooms::Join),
    /// Creating rooms.
    Create(rooms::Create),
    /// Registrations.
    Register(accounts::Register),
    /// Logins with a password.
    Login(accounts::Login),
    /// A bit of everything, as an organization does it.
    Mixed(mixed::Mixed),
    /// Receipts and typing in a room of many members, nobody of whom listens.
    Ephemeral(ephemeral::Ephemeral),
    /// Memory of long polls that wait.
    Idle(idle::Idle),
}

impl Scenario {
    /// Prepares what it needs, measures and prints.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        match self {
            Self::Send(send) => send.run(world).await,
            Self::Fanout(fanout) => fanout.run(world).await,
            Self::SyncInitial(initial) => initial.run(world).await,
            Self::SyncIncremental(incremental) => incremental.run(world).await,
            Self::Sliding(sliding) => sliding.run(world).await,
            Self::Messages(messages) => messages.run(world).await,
            Self::State(state) => state.run(world).await,
            Self::Join(join) => join.run(world).await,
            Self::Create(create) => create.run(world).await,
            Self::Register(register) => register.run(world).await,
            Self::Login(login) => login.run(world).await,
            Self::Mixed(mixed) => mixed.run(world).await,
            Self::Ephemeral(ephemeral) => ephemeral.run(world).await,
            Self::Idle(idle) => idle.run(world).await,
        }
    }
}
