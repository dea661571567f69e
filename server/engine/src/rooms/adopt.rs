//! Taking a room over as another server handed it over, with a join of ours on top.

use hearth_protocol::event::Membership;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::tables::events::ExtremityRow;
use hearth_types::ruma::{OwnedEventId, UserId};

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::outliers::Asks;
use crate::rooms::plan::{Plan, Received};
use crate::state::snapshots::Snapshot;

/// What a server that is in a room handed over to us.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// The state before our join and its auth chain.
    pub handed_over: Vec<VerifiedPdu>,
    /// Which of these events are the state.
    pub state: Vec<OwnedEventId>,
    /// Our join.
    pub join: VerifiedPdu,
}

impl Plan<'_> {
    /// Places our join on the state that was handed over. Where nobody of ours is in the room, that
    /// state takes the place of what was known of it.
    ///
    /// # Errors
    /// `Invalid` or `Forbidden` when the join does not stand on what was handed over. The plan is
    /// then good for nothing.
    pub(super) async fn adopt(&mut self, adoption: &Adoption) -> Result<Received, RoomError> {
        self.add_outliers(&adoption.handed_over).await?;
        let before = self.state_of(&adoption.state).await?;
        self.must_be_of_this_version(&before).await?;
        let verdict = if self.has_joined_locals().await? {
            // The room is not as it was left, and what was handed over is not all of it: our join is
            // one more event of the room.
            self.anchor(&adoption.join, before, Asks::Joining).await
        } else {
            self.leave_what_was(&before);
            self.anchor(&adoption.join, before, Asks::Stated).await
        };
        joined_or_why(verdict?)
    }

    /// Lets a state be the current one. What was known of the room before is history: its ends are
    /// not ends of the graph as the others see it.
    fn leave_what_was(&mut self, state: &Snapshot) {
        let room_nid = self.room.nid;
        let ends = std::mem::take(&mut self.view.extremities);
        let extended = ends.iter().map(|end| ExtremityRow {
            room_nid,
            event_nid: end.nid,
        });
        self.commit.rows.extended.extend(extended);
        let was = std::mem::replace(&mut self.view.current, state.clone());
        // What the commit records as changed is everything that differs from what was known.
        self.recorded.get_or_insert(was);
    }

    /// A template names a version, and the events were read by its rules: the room must be of it.
    async fn must_be_of_this_version(&self, state: &Snapshot) -> Result<(), RoomError> {
        #[derive(serde::Deserialize)]
        struct Content {
            room_version: Option<String>,
        }
        let create = self
            .state_events(state, &[("m.room.create", "".into())])
            .await?;
        let stated = create.find("m.room.create", "").and_then(|create| {
            let content: Content = serde_json::from_str(create.event.content()).ok()?;
            // spec: client-server v1.19 §m.room.create ("Defaults to \"1\"").
            Some(content.room_version.unwrap_or_else(|| "1".to_owned()))
        });
        if stated.as_deref() == Some(self.room.rules.id) {
            return Ok(());
        }
        Err(RoomError::Invalid {
            field: "state",
            rule: "it has no create event of the room version that the template names".to_owned(),
        })
    }

    /// Whether one of our people is joined in the state that is planned on.
    pub(super) async fn has_joined_locals(&self) -> Result<bool, RoomError> {
        let entries = self.view.current.map.entries();
        let keys: Vec<i64> = entries.iter().map(|(key, _)| *key).collect();
        let names = self.rooms.ctx.storage.state_keys(&keys).await?;
        let ours: Vec<i64> = entries
            .into_iter()
            .zip(names)
            .filter(|(_, name)| {
                let user = std::str::from_utf8(&name.state_key).unwrap_or_default();
                name.kind == b"m.room.member" && self.is_ours(user)
            })
            .map(|((_, nid), _)| nid)
            .collect();
        let members = self.by_nid(&ours).await?;
        Ok(members.values().any(is_joined))
    }

    pub(super) fn is_ours(&self, user_id: &str) -> bool {
        <&UserId>::try_from(user_id)
            .is_ok_and(|user| self.rooms.ctx.is_ours(user.server_name().as_str()))
    }
}

fn is_joined(known: &Known) -> bool {
    let membership = known.event.member().and_then(|member| member.membership);
    membership == Some(Membership::Join)
}

/// Whether our join stands, on what was handed over with it.
fn joined_or_why(verdict: Received) -> Result<Received, RoomError> {
    match verdict {
        Received::Accepted | Received::Duplicate => Ok(verdict),
        Received::Rejected(rule) | Received::SoftFailed(rule) => Err(RoomError::Forbidden(rule)),
        Received::Missing { .. } => Err(RoomError::Invalid {
            field: "auth_chain",
            rule: "it lacks events that authorize the join".to_owned(),
        }),
    }
}
