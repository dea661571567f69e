//! What the authorization rules read of an event's content, parsed once.
//!
//! Content comes from other servers and may be malformed; that is not an error here, since only the
//! rule that needs a field may reject the event for it. Hence [`Field`].
//!
//! spec: rooms/v1 to v12 §Authorisation rules, which name these fields.

use ruma_common::OwnedUserId;

use crate::canonical_json::{Object, RawObject, Value};
use crate::power_levels::{PowerLevels, PowerLevelsError};
use crate::room_version::RoomVersionRules;
use crate::signing::signed_bytes;

/// The parsed content of an event of a type that affects authorization.
#[derive(Clone, Debug)]
pub enum AuthContent {
    /// `m.room.create`
    Create(CreateContent),
    /// `m.room.member`
    Member(MemberContent),
    /// `m.room.power_levels`, or which rule on its format it breaks.
    PowerLevels(Result<PowerLevels, PowerLevelsError>),
    /// `m.room.join_rules`
    JoinRules(JoinRulesContent),
    /// `m.room.third_party_invite`
    ThirdPartyInvite(ThirdPartyInviteContent),
    /// Content that no authorization rule reads.
    Other,
}

/// A field of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<T> {
    /// It is not there.
    Absent,
    /// It is there, and of the wrong type.
    Malformed,
    /// It is there.
    Present(T),
}

impl<T> Field<T> {
    /// The value, if it is there and well-formed.
    pub fn present(&self) -> Option<&T> {
        match self {
            Field::Present(value) => Some(value),
            Field::Absent | Field::Malformed => None,
        }
    }

    fn read<'o, 'a>(
        content: &'o Object<'a>,
        key: &str,
        read: impl FnOnce(&'o Value<'a>) -> Option<T>,
    ) -> Self {
        match content.get(key) {
            None => Field::Absent,
            Some(value) => read(value).map_or(Field::Malformed, Field::Present),
        }
    }
}

/// Content of `m.room.create`.
#[derive(Clone, Debug)]
pub struct CreateContent {
    /// The room version; absent means `1`.
    pub room_version: Field<Box<str>>,
    /// The creator, in the room versions that state it here.
    pub creator: Field<OwnedUserId>,
    /// Whether users of other servers may take part: false only where `m.federate` is `false`.
    pub federate: bool,
    /// The creators beside the sender.
    pub additional_creators: Field<Box<[OwnedUserId]>>,
}

/// Content of `m.room.member`.
#[derive(Clone, Debug)]
pub struct MemberContent {
    /// The membership; `None` when it is missing or no string.
    pub membership: Option<Membership>,
    /// The user of a server of the room who vouches for a restricted join.
    pub join_authorised_via_users_server: Field<OwnedUserId>,
    /// The redeemed third-party invite, if the property is there.
    pub third_party_invite: Option<ThirdPartyInvite>,
}

/// A user's relation to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// `ban`
    Ban,
    /// `invite`
    Invite,
    /// `join`
    Join,
    /// `knock`
    Knock,
    /// `leave`, which is also everyone's membership at first.
    Leave,
    /// Any other string.
    Unknown,
}

impl Membership {
    /// Reads the value of `content.membership`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "ban" => Self::Ban,
            "invite" => Self::Invite,
            "join" => Self::Join,
            "knock" => Self::Knock,
            "leave" => Self::Leave,
            _ => Self::Unknown,
        }
    }
}

/// The `third_party_invite` of an `m.room.member` event.
#[derive(Clone, Debug)]
pub struct ThirdPartyInvite {
    /// What the identity server signed; `None` when it is missing, or lacks `mxid` or `token`.
    pub signed: Option<SignedThirdPartyInvite>,
}

/// The signed part of a third-party invite.
#[derive(Clone, Debug)]
pub struct SignedThirdPartyInvite {
    /// The user to whom the invite belongs.
    pub mxid: Box<str>,
    /// Which `m.room.third_party_invite` is meant: its state key.
    pub token: Box<str>,
    /// The bytes that the signatures cover.
    pub payload: Box<[u8]>,
    /// The Ed25519 signatures, in base64, whoever made them.
    pub signatures: Box<[Box<str>]>,
}

/// Content of `m.room.join_rules`.
#[derive(Clone, Copy, Debug)]
pub struct JoinRulesContent {
    /// The join rule; `None` when it is missing or no string.
    pub join_rule: Option<JoinRule>,
}

/// Who may join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRule {
    /// `public`
    Public,
    /// `invite`
    Invite,
    /// `knock`
    Knock,
    /// `restricted`
    Restricted,
    /// `knock_restricted`
    KnockRestricted,
    /// Any other string, such as `private`: nobody may join by it.
    Other,
}

impl JoinRule {
    /// Reads the value of `content.join_rule`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "public" => Self::Public,
            "invite" => Self::Invite,
            "knock" => Self::Knock,
            "restricted" => Self::Restricted,
            "knock_restricted" => Self::KnockRestricted,
            _ => Self::Other,
        }
    }
}

/// Content of `m.room.third_party_invite`.
#[derive(Clone, Debug)]
pub struct ThirdPartyInviteContent {
    /// `public_key` and those of `public_keys`, in base64.
    pub public_keys: Box<[Box<str>]>,
}

impl AuthContent {
    /// Reads the content of an event of type `kind`. `None` where no authorization rule reads it.
    pub(super) fn read(
        rules: &RoomVersionRules,
        kind: &str,
        content: &RawObject<'_>,
    ) -> Option<Self> {
        Some(match kind {
            "m.room.create" => Self::Create(CreateContent::read(content.object())),
            "m.room.member" => Self::Member(MemberContent::read(content.object())),
            "m.room.power_levels" => {
                let levels = PowerLevels::read(&rules.authorization, content.object());
                Self::PowerLevels(levels)
            }
            "m.room.join_rules" => Self::JoinRules(JoinRulesContent::read(content.object())),
            "m.room.third_party_invite" => {
                Self::ThirdPartyInvite(ThirdPartyInviteContent::read(content.object()))
            }
            _ => return None,
        })
    }
}

impl JoinRulesContent {
    fn read(content: &Object<'_>) -> Self {
        let join_rule = content.get("join_rule").and_then(Value::as_str);
        Self {
            join_rule: join_rule.map(JoinRule::from_name),
        }
    }
}

impl CreateContent {
    fn read(content: &Object<'_>) -> Self {
        Self {
            room_version: Field::read(content, "room_version", |value| {
                value.as_str().map(Into::into)
            }),
            creator: Field::read(content, "creator", user_id),
            federate: content.get("m.federate") != Some(&Value::Bool(false)),
            additional_creators: Field::read(content, "additional_creators", |value| {
                value.as_array()?.iter().map(user_id).collect()
            }),
        }
    }
}

impl MemberContent {
    /// Reads the content of an `m.room.member` event.
    #[must_use]
    pub fn read(content: &Object<'_>) -> Self {
        Self {
            membership: content
                .get("membership")
                .and_then(Value::as_str)
                .map(Membership::from_name),
            join_authorised_via_users_server: Field::read(
                content,
                "join_authorised_via_users_server",
                user_id,
            ),
            third_party_invite: content
                .get("third_party_invite")
                .map(|invite| ThirdPartyInvite {
                    signed: invite
                        .as_object()
                        .and_then(|invite| invite.get("signed")?.as_object())
                        .and_then(SignedThirdPartyInvite::read),
                }),
        }
    }
}

impl SignedThirdPartyInvite {
    fn read(signed: &Object<'_>) -> Option<Self> {
        let of_entities = signed.get("signatures").and_then(Value::as_object);
        let signatures = of_entities
            .into_iter()
            .flat_map(Object::iter)
            .filter_map(|(_entity, of_entity)| of_entity.as_object())
            .flat_map(Object::iter)
            .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
            .filter_map(|(_, signature)| signature.as_str().map(Into::into));
        Some(Self {
            mxid: signed.get("mxid")?.as_str()?.into(),
            token: signed.get("token")?.as_str()?.into(),
            payload: signed_bytes(signed).into(),
            signatures: signatures.collect(),
        })
    }
}

impl ThirdPartyInviteContent {
    fn read(content: &Object<'_>) -> Self {
        let single = content.get("public_key").and_then(Value::as_str);
        let listed = content
            .get("public_keys")
            .and_then(Value::as_array)
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| entry.as_object()?.get("public_key")?.as_str());
        Self {
            public_keys: single.into_iter().chain(listed).map(Into::into).collect(),
        }
    }
}

fn user_id(value: &Value<'_>) -> Option<OwnedUserId> {
    OwnedUserId::try_from(value.as_str()?).ok()
}
