//! Application services: bridges and bots that act for many people, by registration files.
//!
//! spec: application-service v1.19

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use hearth_config::{AppserviceRegistration, Namespace};
use hearth_types::ruma::{
    IdParseError, OwnedDeviceId, OwnedUserId, RoomAliasId, ServerName, UserId,
};
use sha2::{Digest, Sha256};

/// SHA-256 of an `as_token`.
type TokenHash = [u8; 32];

/// One application service.
pub struct Appservice {
    /// What its registration calls it.
    pub id: String,
    /// The account in whose name it acts unless it says another.
    pub sender: OwnedUserId,
    /// Whether those it acts for are held to the limits of requests.
    pub rate_limited: bool,
    /// See [`crate::accounts::Session::place`].
    pub(crate) place: OwnedDeviceId,
    users: Vec<Namespace>,
    aliases: Vec<Namespace>,
}

/// Those that are registered.
#[derive(Debug, Default)]
pub struct Appservices(HashMap<TokenHash, Arc<Appservice>>);

/// Its id alone: the rest is long.
impl fmt::Debug for Appservice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Appservice").field(&self.id).finish()
    }
}

/// Ids are unique.
impl PartialEq for Appservice {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Appservice {}

impl Appservice {
    /// Whether it may act for somebody, a person of this server.
    #[must_use]
    pub fn acts_for(&self, user_id: &UserId) -> bool {
        let is_ours = user_id.server_name() == self.sender.server_name();
        is_ours && (*user_id == self.sender || has(&self.users, user_id.as_str()))
    }

    /// Whether an alias is its own.
    #[must_use]
    pub fn owns_alias(&self, alias: &RoomAliasId) -> bool {
        has(&self.aliases, alias.as_str())
    }
}

impl Appservices {
    /// Of registrations whose ids and tokens are unique.
    ///
    /// # Errors
    /// When a `sender_localpart` makes no user id.
    pub fn new(
        registrations: &[AppserviceRegistration],
        server_name: &ServerName,
    ) -> Result<Self, IdParseError> {
        let known = registrations.iter().map(|registration| {
            let localpart = &registration.sender_localpart;
            let service = Appservice {
                id: registration.id.clone(),
                sender: UserId::parse(format!("@{localpart}:{server_name}"))?,
                place: format!("\u{1}{}", registration.id).into(),
                rate_limited: registration.rate_limited,
                users: registration.users.clone(),
                aliases: registration.aliases.clone(),
            };
            Ok((hash(registration.as_token.expose()), Arc::new(service)))
        });
        known.collect::<Result<_, _>>().map(Self)
    }

    /// Whose token it is. Compared by hash, so that the time it takes says nothing.
    #[must_use]
    pub fn of_token(&self, as_token: &str) -> Option<&Arc<Appservice>> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get(&hash(as_token)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Appservice> {
        self.0.values().map(|service| &**service)
    }

    /// Whether somebody may make an account of this name: `by` a service, or by themselves. A service has
    /// its own account, and no name that is another's alone.
    #[must_use]
    pub fn may_have_user(&self, by: Option<&Appservice>, user_id: &UserId) -> bool {
        let own = by.is_some_and(|service| *user_id == service.sender);
        let is_reserved = self.others(by).any(|service| {
            *user_id == service.sender || reserves(&service.users, user_id.as_str())
        });
        by.is_none_or(|service| service.acts_for(user_id)) && (own || !is_reserved)
    }

    /// Whether somebody may take an alias: `by` a service, or by themselves.
    #[must_use]
    pub fn may_have_alias(&self, by: Option<&Appservice>, alias: &RoomAliasId) -> bool {
        let mut others = self.others(by);
        by.is_none_or(|service| service.owns_alias(alias))
            && !others.any(|service| reserves(&service.aliases, alias.as_str()))
    }

    fn others(&self, by: Option<&Appservice>) -> impl Iterator<Item = &Appservice> {
        self.iter().filter(move |service| Some(*service) != by)
    }
}

fn has(namespaces: &[Namespace], name: &str) -> bool {
    namespaces.iter().any(|space| space.regex.is_match(name))
}

fn reserves(namespaces: &[Namespace], name: &str) -> bool {
    let matches = |space: &Namespace| space.exclusive && space.regex.is_match(name);
    namespaces.iter().any(matches)
}

fn hash(as_token: &str) -> TokenHash {
    Sha256::digest(as_token).into()
}
