//! Which rule an event breaks.

use ruma_common::OwnedEventId;

use crate::power_levels::PowerLevelsError;

/// The authorization rule that an event breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a verdict: these events are needed to reach one.
    #[error("needs events that are not known: {0:?}")]
    UnknownEvents(Vec<OwnedEventId>),

    /// spec: v12 1.1 (v11 1.1)
    #[error("`m.room.create` must not have prev events")]
    CreateHasPrevEvents,
    /// spec: v11 1.2
    #[error("`m.room.create` must have a room id of its sender's server")]
    CreateOfOtherServer,
    /// spec: v12 1.3 (v11 1.3)
    #[error("`content.room_version` of `m.room.create` must be a known room version")]
    UnknownRoomVersion,
    /// spec: v1 1.4
    #[error("`m.room.create` must have a `content.creator`")]
    NoCreator,
    /// spec: v12 1.4
    #[error("`content.additional_creators` of `m.room.create` must be an array of user ids")]
    AdditionalCreators,

    /// spec: v12 2
    #[error("`room_id` must be the hash of an accepted `m.room.create` event")]
    RoomIdWithoutCreate,
    /// spec: v12 3.1 (v11 2.1)
    #[error("`auth_events` must not have two events of type {kind:?} and state key {state_key:?}")]
    DuplicateAuthEvent {
        /// The type they share.
        kind: String,
        /// The state key they share.
        state_key: String,
    },
    /// spec: v12 3.2 (v11 2.2)
    #[error("`auth_events` must not have {0}, which does not decide on this event")]
    UnexpectedAuthEvent(OwnedEventId),
    /// spec: v12 3.3 (v11 2.3)
    #[error("`auth_events` must not have {0}, which was rejected")]
    RejectedAuthEvent(OwnedEventId),
    /// spec: v11 2.4
    #[error("`auth_events` must have the `m.room.create` event")]
    NoCreateInAuthEvents,
    /// spec: v12 3.5 (v11 2.5)
    #[error("`auth_events` must not have {0}, which is of another room")]
    AuthEventOfOtherRoom(OwnedEventId),

    /// Every rule on state supposes a create event.
    #[error("the state must have an `m.room.create` event")]
    NoCreateEvent,
    /// spec: v12 4 (v11 3)
    #[error("users of other servers may not send in a room with `m.federate` false")]
    NotFederated,
    /// spec: v1 4
    #[error("`m.room.aliases` must have the sender's server as `state_key`")]
    AliasesOfOtherServer,
    /// spec: v1 11
    #[error("the sender must reach the redact level, or redact an event id of its own server")]
    RedactLevel,
    /// spec: v12 6 (v11 5), and the rules on memberships that ask the same
    #[error("the sender must be joined to the room")]
    SenderNotJoined,
    /// spec: v12 7 (v11 6), 5.4.4 (4.4.4)
    #[error("the sender must reach the invite level")]
    InviteLevel,
    /// spec: v12 8 (v11 7)
    #[error("the sender must reach the power level required for {kind:?}")]
    RequiredPowerLevel {
        /// The event's type.
        kind: String,
    },
    /// spec: v12 9 (v11 8)
    #[error("a `state_key` that is a user id must be the sender's")]
    StateKeyOfOtherUser,

    /// spec: v12 5.1 (v11 4.1)
    #[error("`m.room.member` must have a user id as `state_key`")]
    MemberStateKey,
    /// spec: v12 5.1 (v11 4.1)
    #[error("`m.room.member` must have a `content.membership`")]
    NoMembership,
    /// spec: v12 5.2 (v11 4.2)
    #[error("`content.join_authorised_via_users_server` must be a user id")]
    MalformedAuthorizingUser,
    /// spec: v12 5.8 (v11 4.8)
    #[error("`content.membership` must be a known membership")]
    UnknownMembership,
    /// spec: v12 5.3.2, 5.7.2 (v11 4.3.2, 4.7.2)
    #[error("users join and knock for themselves only")]
    SenderIsNotTarget,
    /// spec: v12 5.3.3, 5.4.1.1, 5.4.3, 5.7.3 (v11 4.…)
    #[error("the target user must not be banned")]
    TargetBanned,
    /// spec: v12 5.4.3 (v11 4.4.3)
    #[error("the target user must not be joined already")]
    TargetJoined,
    /// spec: v12 5.3.4, 5.3.7 (v11 4.3.4, 4.3.7)
    #[error("the join rule must allow the user to join")]
    JoinRule,
    /// spec: v12 5.3.5.2 (v11 4.3.5.2)
    #[error("`content.join_authorised_via_users_server` must be a joined user who may invite")]
    AuthorizingUser,
    /// spec: v12 5.4.1 (v11 4.4.1)
    #[error("third-party invite: {0}")]
    ThirdPartyInvite(ThirdPartyInviteRule),
    /// spec: v12 5.5.1 (v11 4.5.1)
    #[error("users leave rooms that they joined, were invited to or knocked on")]
    NothingToLeave,
    /// spec: v12 5.5.3, 5.6.2 (v11 4.5.3, 4.6.2)
    #[error("the sender must reach the ban level")]
    BanLevel,
    /// spec: v12 5.5.4 (v11 4.5.4)
    #[error("the sender must reach the kick level")]
    KickLevel,
    /// spec: v12 5.5.4, 5.6.2 (v11 4.5.4, 4.6.2)
    #[error("the sender must have more power than the target user")]
    TargetPower,
    /// spec: v12 5.7.1 (v11 4.7.1)
    #[error("the join rule must allow knocking")]
    KnockRule,
    /// spec: v12 5.7.3 (v11 4.7.3)
    #[error("users do not knock on rooms that they are in or invited to")]
    NothingToKnockFor,

    /// spec: v12 10.1–10.3 (v11 9.1–9.3)
    #[error(transparent)]
    PowerLevels(PowerLevelsError),
    /// spec: v12 10.4
    #[error("power levels: `users` must not have creators of the room")]
    CreatorInPowerLevels,
    /// spec: v12 10.6–10.10 (v11 9.5–9.9)
    #[error("power levels: the sender must have the power to change `{field}` of {key:?}")]
    PowerLevelChange {
        /// The level, or the map of levels.
        field: &'static str,
        /// The entry of the map.
        key: String,
    },
}

/// Which rule on third-party invites an event breaks.
///
/// spec: v12 5.4.1 (v11 4.4.1)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThirdPartyInviteRule {
    /// 5.4.1.2, 5.4.1.3
    #[error("`signed` must be there, with `mxid` and `token`")]
    Signed,
    /// 5.4.1.4
    #[error("`mxid` must be the target user")]
    Mxid,
    /// 5.4.1.5
    #[error("an `m.room.third_party_invite` with that token must be in the state")]
    Token,
    /// 5.4.1.6
    #[error("the sender must be that of the `m.room.third_party_invite`")]
    Sender,
    /// 5.4.1.7, 5.4.1.8
    #[error("`signed` must be signed by a key of the `m.room.third_party_invite`")]
    Signature,
}
