//! A commit: what one plan wants written, as data.
//!
//! A commit has *guards* (conditional writes with a typed outcome, run alone and before its rows) and
//! *rows* (plain inserts that merge with the rows of other commits in the same transaction). What a client
//! can see takes a stream position: a commit asks for a number of them and refers to each by its
//! [`Slot`]; the writer gives them out in commit order.

use std::ops::Deref;

use crate::driver::Conn;
use crate::error::StorageError;
use crate::tables::{
    account_data, accounts, bounds, counts, cross_signing, dehydrated_devices, device_keys,
    device_lists, devices, directory, events, filters, intern, key_backups, log, one_time_keys,
    outbox, profiles, purpose_tokens, receipts, refresh_tokens, registration_tokens, relations,
    reports, rooms, server_keys, sliding, staging, state, to_device, tokens,
};

/// The n-th stream position of a commit (0-based), before the writer has given it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub i64);

/// A row with the position that its commit's slots start at.
#[derive(Debug)]
pub struct Stamped<'a, R> {
    row: &'a R,
    base: i64,
}

impl<'a, R> Stamped<'a, R> {
    /// The row itself.
    pub(crate) fn row(&self) -> &'a R {
        self.row
    }

    /// The stream position of one of the commit's slots.
    #[must_use]
    pub fn at(&self, slot: Slot) -> i64 {
        self.base + slot.0
    }
}

impl<R> Deref for Stamped<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.row
    }
}

/// Keeps the last row of each key: an upsert may touch a key once per statement.
pub(crate) fn last_of_each<'a, R, K: Ord>(
    rows: &[Stamped<'a, R>],
    key: impl Fn(&'a R) -> K,
) -> Vec<Stamped<'a, R>> {
    let mut last = std::collections::BTreeMap::new();
    for stamped in rows {
        last.insert(
            key(stamped.row),
            Stamped {
                row: stamped.row,
                base: stamped.base,
            },
        );
    }
    last.into_values().collect()
}

/// What one plan wants written.
#[derive(Debug, Default)]
pub struct Commit {
    /// Conditional writes, in order. One refusal refuses the whole commit.
    pub guards: Vec<Guard>,
    /// The rooms this commit advances, with the revision it was planned on.
    pub rooms: Vec<rooms::RoomAdvance>,
    /// Transaction ids that devices use for its events. One that was used before refuses the whole
    /// commit as [`Refusal::Taken`].
    pub claims: Vec<events::ClientTransactionRow>,
    /// How many stream positions it needs.
    pub slots: i64,
    /// Plain rows.
    pub rows: Rows,
    /// Parts of states that go, if nothing refers to them once all else is written.
    pub unreferenced: state::Unreferenced,
}

impl Commit {
    /// Reserves the next stream position.
    pub fn slot(&mut self) -> Slot {
        let slot = Slot(self.slots);
        self.slots += 1;
        slot
    }
}

/// Why the writer did not apply a commit. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The room has moved on since the commit was planned: plan again.
    #[error("room {room_nid} has moved on")]
    Stale {
        /// The room.
        room_nid: i64,
    },
    /// The name, or a device's transaction id, is taken.
    #[error("the name is taken")]
    Taken,
    /// What the commit wants to change is not there.
    #[error("what was to be changed is not there")]
    Absent,
    /// There is no room for more of the kind.
    #[error("there is no room for more")]
    Full,
    /// What the commit was planned on has changed: look and plan again.
    #[error("it has changed meanwhile")]
    Changed,
}

/// The error of a commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A guard or a room's revision refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed. Where the connection was lost while committing, it is not known
    /// whether the commit took effect: read before trying again.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! guards {
    ($($(#[$doc:meta])* $variant:ident($kind:ty)),+ $(,)?) => {
        /// A conditional write, run alone before the rows.
        #[derive(Debug)]
        pub enum Guard { $($(#[$doc])* $variant($kind)),+ }

        impl Guard {
            pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
                match self { $(Self::$variant(guard) => guard.run(conn).await),+ }
            }
        }
    };
}

impl Guard {
    /// Whether it may refuse its commit, so that what guards before it wrote has to be undone.
    pub(crate) fn may_refuse(&self) -> bool {
        !matches!(self, Self::Intern(_) | Self::NidBlock(_))
    }

    /// Whether it looks at what rows are written to, so that the rows of the commits before its own have to
    /// be there.
    pub(crate) fn looks_at_rows(&self) -> bool {
        matches!(
            self,
            Self::AccountDataIs(_)
                | Self::AccountLeft(_)
                | Self::ProfileFits(_)
                | Self::RemoteListFill(_)
                | Self::RoomForget(_)
        )
    }
}

guards! {
    /// Gives names their local ids.
    Intern(intern::Names),
    /// Takes a block of local ids.
    NidBlock(log::NidBlock),
    /// Makes an account.
    AccountCreate(accounts::AccountCreate),
    /// Replaces a password.
    PasswordSet(accounts::PasswordSet),
    /// Makes a guest's account that of somebody who registered.
    GuestUpgrade(accounts::GuestUpgrade),
    /// Locks or suspends an account, or lets it go on.
    AccountModerate(accounts::AccountModerate),
    /// Closes an account for good.
    AccountClose(accounts::AccountClose),
    /// Takes note that a closed account is in no room any more.
    AccountLeft(accounts::AccountLeft),
    /// Opens a session on a device.
    SessionOpen(tokens::SessionOpen),
    /// Gives a session new tokens for a refresh token.
    SessionRefresh(refresh_tokens::SessionRefresh),
    /// Takes note of the first use of what a refresh gave.
    RefreshConfirm(refresh_tokens::RefreshConfirm),
    /// Makes a registration token.
    RegistrationTokenCreate(registration_tokens::RegistrationTokenCreate),
    /// Takes one use of a registration token.
    RegistrationTokenUse(registration_tokens::RegistrationTokenUse),
    /// Removes a registration token.
    RegistrationTokenDelete(registration_tokens::RegistrationTokenDelete),
    /// Keeps a token that is good for one purpose.
    PurposeTokenStore(purpose_tokens::PurposeTokenStore),
    /// Takes a token for its one use.
    PurposeTokenTake(purpose_tokens::PurposeTokenTake),
    /// Makes a device on which nobody signs in.
    DeviceCreate(devices::DeviceCreate),
    /// Renames a device.
    DeviceRename(devices::DeviceRename),
    /// Removes devices with all that belongs to them.
    DevicesRemove(devices::DevicesRemove),
    /// Keeps a filter.
    FilterStore(filters::FilterStore),
    /// Publishes the identity keys of a device.
    DeviceKeysUpload(device_keys::DeviceKeysUpload),
    /// Adds one-time and fallback keys to a device.
    OneTimeKeysUpload(one_time_keys::OneTimeKeysUpload),
    /// Issues one-time keys.
    KeysClaim(one_time_keys::KeysClaim),
    /// Publishes cross-signing keys.
    CrossSigningUpload(cross_signing::CrossSigningUpload),
    /// Replaces the copy of a remote person's keys.
    RemoteListFill(device_lists::RemoteListFill),
    /// Takes one link of the chain about a remote person's devices.
    RemoteListUpdate(device_lists::RemoteListUpdate),
    /// Begins a version of a key backup.
    BackupCreate(key_backups::BackupCreate),
    /// Replaces what is known of a version's algorithm.
    BackupUpdate(key_backups::BackupUpdate),
    /// Deletes a version of a key backup.
    BackupDelete(key_backups::BackupDelete),
    /// Deletes all versions of somebody's key backup.
    BackupsForget(key_backups::BackupsForget),
    /// Writes keys to a backup.
    BackupKeysPut(key_backups::BackupKeysPut),
    /// Deletes keys of a backup.
    BackupKeysDelete(key_backups::BackupKeysDelete),
    /// Makes a dehydrated device.
    DehydratedDevicePut(dehydrated_devices::DehydratedDevicePut),
    /// Lets a client's transaction take effect once.
    SendOnce(to_device::SendOnce),
    /// Lets another server's message take effect once.
    ReceiveOnce(to_device::ReceiveOnce),
    /// Removes what is no longer needed of one table.
    Prune(bounds::Prune),
    /// Stores a state snapshot in another way.
    SnapshotReshape(state::SnapshotReshape),
    /// Takes a free name for a room.
    AliasTake(directory::AliasTake),
    /// Gives a name of a room up.
    AliasGiveUp(directory::AliasGiveUp),
    /// Hands the names of a room over to another.
    AliasesMove(directory::AliasesMove),
    /// Forgets a room that a person left.
    RoomForget(state::RoomForget),
    /// Keeps a report.
    ReportFile(reports::ReportFile),
    /// Removes a report.
    ReportDelete(reports::ReportDelete),
    /// Looks that account data is what a change was planned on.
    AccountDataIs(account_data::AccountDataIs),
    /// Looks that a profile has space for a field.
    ProfileFits(profiles::ProfileFits),
}

/// What a guard found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The local ids of names, in the order asked.
    Nids(Vec<i64>),
    /// The hashes of access tokens of which nothing remembered is true any more.
    Tokens(Vec<Vec<u8>>),
    /// What became of a refresh.
    Refreshed(refresh_tokens::Refreshed),
    /// The keys that were issued, in the order asked; none where a device has none.
    Keys(Vec<Option<one_time_keys::IssuedKey>>),
    /// What became of a link of a remote person's device list.
    List(device_lists::ListUpdate),
    /// Where a key backup stands.
    Backup(key_backups::BackupState),
    /// Where a key backup stands, and how many of its keys were removed.
    BackupShrunk(key_backups::BackupState, i64),
    /// How many rows a step of pruning removed or looked at.
    Pruned(u64),
}

macro_rules! rows_of_a_commit {
    ($($(#[$doc:meta])* $field:ident: $row:ty => $write:path),+ $(,)?) => {
        /// Plain rows, by table. The order of the fields is the order of writing.
        #[derive(Debug, Default)]
        pub struct Rows { $($(#[$doc])* pub $field: Vec<$row>),+ }

        impl Rows {
            /// How many there are.
            pub(crate) fn count(&self) -> usize {
                0 $(+ self.$field.len())+
            }

            /// Writes the rows of many commits, those of a table together.
            pub(crate) async fn write(
                mut conn: Conn<'_>,
                commits: &[(i64, &Self)],
            ) -> Result<(), StorageError> {
                $(
                    let rows: Vec<Stamped<'_, $row>> = commits
                        .iter()
                        .flat_map(|&(base, rows)| {
                            rows.$field.iter().map(move |row| Stamped { row, base })
                        })
                        .collect();
                    if !rows.is_empty() {
                        $write(conn.again(), &rows).await?;
                    }
                )+
                Ok(())
            }
        }
    };
}

rows_of_a_commit! {
    /// New rooms.
    rooms: rooms::RoomRow => rooms::room_insert,
    /// Chunks of long deltas, written before a snapshot refers to them.
    chunks: state::ChunkRow => state::chunk_insert,
    /// State snapshots, each after the one it builds on.
    snapshots: state::SnapshotRow => state::snapshot_insert,
    /// New events with their JSON.
    events: events::EventRow => events::event_insert,
    /// Events that become part of the graph.
    placed: events::EventPlaced => events::event_placed,
    /// Events whose state another server stated.
    provisional: state::ProvisionalRow => state::provisional_insert,
    /// Events that get another state.
    states_replaced: state::StateReplaced => state::state_replace,
    /// Prev edges.
    edges: events::EdgeRow => events::edge_insert,
    /// Auth edges.
    auth: events::EdgeRow => events::auth_insert,
    /// New forward extremities.
    extremities: events::ExtremityRow => events::extremity_insert,
    /// Events that are forward extremities no more.
    extended: events::ExtremityRow => events::extremity_delete,
    /// Prev events that are not known here.
    gaps: events::GapRow => events::gap_insert,
    /// Events that may close gaps.
    gap_closers: events::EdgeTarget => events::gap_close,
    /// Redactions by their target.
    redactions: events::RedactionRow => events::redaction_insert,
    /// Events whose content is redacted.
    redacted: events::EventRedacted => events::event_redacted,
    /// Events that relate to others.
    relations: relations::RelationRow => relations::relation_insert,
    /// Events that relate to nothing any more.
    relations_gone: relations::RelationGone => relations::relation_delete,
    /// Changes of current state.
    state_changes: state::StateChangeRow => state::state_change_insert,
    /// Memberships in current state.
    memberships: state::MembershipRow => state::membership_upsert,
    /// Whether everybody may enter or read rooms.
    rooms_open: rooms::RoomOpen => rooms::room_open_set,
    /// The same of rooms that were there before this was noted.
    rooms_looked_at: rooms::RoomOpen => rooms::room_open_fill,
    /// What the directory shows of rooms.
    published: directory::PublishedChange => directory::published_change,
    /// What invited people are shown.
    stripped_states: state::StrippedStateRow => state::stripped_state_upsert,
    /// Remote events that wait.
    staged: staging::StagedRow => staging::staged_insert,
    /// Remote events that no longer wait.
    unstaged: staging::Unstaged => staging::staged_delete,
    /// What waits to be sent to other servers.
    outbox: outbox::OutboxRow => outbox::outbox_insert,
    /// What was delivered.
    delivered: outbox::OutboxDelivered => outbox::outbox_delivered,
    /// What is remembered of destinations.
    destinations: outbox::DestinationRow => outbox::destination_upsert,
    /// Keys of other servers.
    server_keys: server_keys::ServerKeysRow => server_keys::server_keys_replace,
    /// When and from where devices were last seen.
    devices_seen: devices::DeviceSeen => devices::device_seen,
    /// Changed profile fields.
    profiles: profiles::ProfileRow => profiles::profile_upsert,
    /// Changed account data.
    account_data: account_data::AccountDataRow => account_data::account_data_upsert,
    /// Events that count as unread.
    counted: counts::CountedRow => counts::counted_insert,
    /// For whom events count otherwise.
    counted_otherwise: counts::OtherwiseRow => counts::otherwise_insert,
    /// Events that count no more.
    uncounted: counts::Uncounted => counts::uncounted_delete,
    /// Rooms that count as many events as they may.
    counted_trims: counts::CountedTrim => counts::counted_trim,
    /// Who read, joined or left.
    read_marks: counts::ReadMarkRow => counts::read_mark_apply,
    /// Changes of how events count for people.
    push_classes: counts::PushClassRow => counts::push_class_insert,
    /// Fully-read markers, which are account data.
    read_markers: receipts::ReadMarkerRow => receipts::read_marker_upsert,
    /// Up to where people have read.
    receipts: receipts::ReceiptRow => receipts::receipt_upsert,
    /// Signatures on people's keys.
    key_signatures: cross_signing::KeySignature => cross_signing::key_signature_upsert,
    /// Changes of device lists, told to the servers of the memberships above.
    device_list_changes: device_lists::DeviceListChange => device_lists::device_list_change,
    /// Copies of remote device lists that are no longer good.
    stale_lists: device_lists::RemoteListStale => device_lists::remote_list_stale,
    /// Messages for devices.
    to_device: to_device::ToDeviceRow => to_device::to_device_insert,
    /// Messages that devices have moved past.
    to_device_delivered: to_device::ToDeviceDelivered => to_device::to_device_delivered,
    /// Devices that are gone, with their keys and messages.
    devices_forgotten: device_keys::DeviceForgotten => device_keys::device_forget,
    /// Connections of sliding sync that are of no use any more.
    sliding_connections_gone: sliding::SlidingConnectionGone => sliding::sliding_connection_delete,
    /// What was told on connections of sliding sync.
    sliding_connections: sliding::SlidingConnectionRow => sliding::sliding_connection_upsert,
    /// Where followers of the log stand.
    followers: log::FollowerRow => log::follower_upsert,
    /// When the log had come so far.
    log_times: log::LogTime => log::log_time_insert,
}
