//! Who may see an event: history visibility and membership, in one function.
//!
//! spec: client-server v1.19 §Room History Visibility.

use crate::event::Membership;

#[cfg(test)]
mod tests;

/// Value of `content.history_visibility` of `m.room.history_visibility`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HistoryVisibility {
    /// `world_readable`: anyone.
    WorldReadable,
    /// `shared`: members, everything. What holds without the event, or with any other value.
    #[default]
    Shared,
    /// `invited`: members, from when they were invited.
    Invited,
    /// `joined`: members, from when they joined.
    Joined,
}

impl HistoryVisibility {
    /// Reads the value.
    ///
    /// spec: "if no `history_visibility` is set, or if the value is not understood, the visibility is
    /// assumed to be `shared`."
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "world_readable" => Self::WorldReadable,
            "invited" => Self::Invited,
            "joined" => Self::Joined,
            _ => Self::Shared,
        }
    }
}

/// Something that an event may have changed: as it was in the state before the event, and in the state
/// after it. For most events both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around<T> {
    /// In the state before the event.
    pub before: T,
    /// In the state after the event.
    pub after: T,
}

impl<T: Copy> Around<T> {
    /// What the event did not change.
    #[must_use]
    pub fn unchanged(value: T) -> Self {
        Self {
            before: value,
            after: value,
        }
    }
}

/// Whether a user may see an event.
///
/// `visibility` is the room's history visibility around the event (its two sides differ only for an
/// `m.room.history_visibility` event); `membership` the user's (differs only for the user's own
/// `m.room.member` event). `joined_later` says whether the user joined the room at any point after
/// the event.
///
/// A server that asks is answered for the best placed of its users, by asking for each of them.
#[must_use]
pub fn may_see(
    visibility: Around<HistoryVisibility>,
    membership: Around<Membership>,
    joined_later: bool,
) -> bool {
    // spec: "the user should be allowed to see the event if the `history_visibility` before *or*
    // after the event would allow them to see it"; "likewise, for the user's own `m.room.member`
    // events".
    [visibility.before, visibility.after]
        .into_iter()
        .any(|visibility| {
            [membership.before, membership.after]
                .into_iter()
                .any(|membership| is_allowed(visibility, membership, joined_later))
        })
}

fn is_allowed(visibility: HistoryVisibility, membership: Membership, joined_later: bool) -> bool {
    match (visibility, membership) {
        // spec: 1. "If the `history_visibility` was set to `world_readable`, allow."
        (HistoryVisibility::WorldReadable, _) => true,
        // spec: 2. "If the user's `membership` was `join`, allow."
        (_, Membership::Join) => true,
        // spec: 3. "If `history_visibility` was set to `shared`, and the user joined the room at any
        // point after the event was sent, allow."
        (HistoryVisibility::Shared, _) => joined_later,
        // spec: 4. "If the user's `membership` was `invite`, and the `history_visibility` was set to
        // `invited`, allow."
        (HistoryVisibility::Invited, Membership::Invite) => true,
        // spec: 5. "Otherwise, deny."
        _ => false,
    }
}
