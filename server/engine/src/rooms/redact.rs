//! Redactions take effect where their sender may redact their target, whichever of the two arrives
//! first.
//!
//! spec: rooms/v3 §Handling redactions.

use hearth_protocol::event::Event;
use hearth_protocol::power_levels::RoomPower;
use hearth_storage::tables::events::{self as rows, EventRedacted, Fate, RedactionRow};

use hearth_types::ruma::{OwnedEventId, UserId};

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Plan;

impl Plan<'_> {
    /// Applies what an event redacts.
    pub(super) async fn redact(&mut self, known: &Known) -> Result<(), RoomError> {
        if let Some(target_id) = known.event.redacts().map(ToOwned::to_owned) {
            let target = self
                .known(std::slice::from_ref(&target_id))
                .await?
                .remove(&target_id);
            let applied = match target {
                Some(target) => self.redact_target(&target, known).await?,
                None => false,
            };
            self.commit.rows.redactions.push(RedactionRow {
                target_id: target_id.to_string(),
                redaction_nid: known.nid,
                applied,
            });
        }
        Ok(())
    }

    /// Applies the redactions that arrived before their target.
    pub(super) async fn redact_late(&mut self, target: &Known) -> Result<(), RoomError> {
        let id = target.event.event_id().to_string();
        let mut reader = self.rooms.ctx.storage.read().await?;
        let waiting = rows::redactions_of(reader.conn(), std::slice::from_ref(&id)).await?;
        drop(reader);
        for (_, nid) in waiting {
            let Some(redaction) = self.by_nid(&[nid]).await?.remove(&nid) else {
                continue;
            };
            if redaction.fate == Fate::Accepted && self.redact_target(target, &redaction).await? {
                self.commit.rows.redactions.push(RedactionRow {
                    target_id: id.clone(),
                    redaction_nid: nid,
                    applied: true,
                });
                return Ok(());
            }
        }
        Ok(())
    }

    async fn redact_target(
        &mut self,
        target: &Known,
        redaction: &Known,
    ) -> Result<bool, RoomError> {
        let same_room = target.event.room_id() == redaction.event.room_id();
        let create = target.event.is_state_of("m.room.create", "");
        if !same_room || create || target.redacted_by.is_some() {
            return Ok(false);
        }
        if !self.may_redact(&target.event, &redaction.event).await? {
            return Ok(false);
        }
        let event = target
            .event
            .redacted(self.room.rules)
            .map_err(|error| RoomError::Invalid {
                field: "redacts",
                rule: error.to_string(),
            })?;
        let by = redaction.event.event_id().as_str();
        self.commit.rows.redacted.push(EventRedacted {
            event_nid: target.nid,
            by: by.to_owned(),
            json: event.json().clone(),
        });
        self.uncount(target.nid);
        self.unrelate(target);
        let redacted = Known {
            event,
            redacted_by: Some(by.into()),
            ..target.clone()
        };
        self.fresh
            .insert(redacted.event.event_id().to_owned(), redacted.clone());
        self.effects.redacted.push(redacted);
        self.republish_redacted(target.event.kind()).await?;
        Ok(true)
    }

    /// Whether one of our people may ask for a redaction. Between servers, any redaction of the
    /// target's server counts; so that nobody redacts for their neighbors, ours are told apart here.
    ///
    /// spec: client-server v1.19 §Redactions ("power level required to redact other people's events").
    pub(super) async fn may_ask_to_redact(
        &self,
        sender: &UserId,
        target: &OwnedEventId,
    ) -> Result<(), RoomError> {
        let found = self
            .known(std::slice::from_ref(target))
            .await?
            .remove(target);
        let target = found.filter(|known| known.event.room_id() == self.room.id);
        let target = target.ok_or(RoomError::NotFound("the event to redact"))?;
        if target.event.sender() == sender || self.reaches_redact_level(sender).await? {
            return Ok(());
        }
        Err(RoomError::Forbidden(
            "you may not redact the events of others".to_owned(),
        ))
    }

    async fn reaches_redact_level(&self, sender: &UserId) -> Result<bool, RoomError> {
        let power = self.power().await?;
        Ok(power.is_some_and(|power| power.user_level(sender).reaches(power.redact())))
    }

    async fn may_redact(&self, target: &Event, redaction: &Event) -> Result<bool, RoomError> {
        let power = self.power().await?;
        Ok(power.is_some_and(|power| power.may_redact(redaction.sender(), target.sender())))
    }

    /// The power levels of the current state.
    pub(super) async fn power(&self) -> Result<Option<RoomPower>, RoomError> {
        let types = [
            ("m.room.create", "".into()),
            ("m.room.power_levels", "".into()),
        ];
        let state = self.state_events(&self.view.current, &types).await?;
        let levels = state
            .find("m.room.power_levels", "")
            .map(|known| known.event.clone());
        let create = state
            .find("m.room.create", "")
            .map(|known| known.event.clone());
        Ok(create
            .and_then(|create| RoomPower::new(&self.room.rules.authorization, create, levels).ok()))
    }
}
