use hearth_storage::{Refusal, StorageError};

use super::interactive::Challenge;
use super::sessions::NoDevice;
use crate::peers::PeerError;

/// Why an account action was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// People cannot register themselves here.
    #[error("registration is closed on this server")]
    RegistrationClosed,
    /// People cannot come as guests.
    #[error("this server takes no guests")]
    NoGuests,
    /// Who wants a guest's account for good does not show that it is theirs.
    #[error("`guest_access_token` is not that of a guest with this user name")]
    NotThatGuest,
    /// The user name breaks a rule.
    #[error("the user name {0}")]
    InvalidUsername(&'static str),
    /// The name belongs to an application service, or does not belong to the one that asks.
    #[error("this {0} is reserved for an application service, or not for this one")]
    Exclusive(&'static str),
    /// An application service acts for people in its namespaces who have an account.
    #[error("this application service does not act for such a person, or has not registered them")]
    NotActedFor,
    /// An application service names a device that the person does not have.
    #[error("the person has no such device")]
    UnknownDevice,
    /// It is about a device, and there is none.
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    /// Somebody has the user name.
    #[error("the user name is taken")]
    UserInUse,
    /// The password breaks a rule.
    #[error("the password {0}")]
    WeakPassword(&'static str),
    /// The user or the password is wrong; which of the two is not said.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// The account was closed for good.
    #[error("this account is deactivated")]
    Deactivated,
    /// The access token is not known, or no longer.
    #[error("the access token is not known")]
    UnknownToken,
    /// The access token, or what it could be refreshed with, is too old: its owner signs in again and
    /// keeps their keys.
    #[error("the session is over: sign in again")]
    Expired,
    /// The account is locked.
    #[error("this account has been locked")]
    Locked,
    /// The token for logging in is not known, or no longer.
    #[error("the login token is not known: it is good once and for two minutes")]
    WrongLoginToken,
    /// The last use of a registration token was taken.
    #[error("the registration token is used up")]
    TokenUsedUp,
    /// There is such a registration token already.
    #[error("the registration token exists already")]
    TokenInUse,
    /// There is no shared secret.
    #[error("registration by shared secret is off: `registration.shared_secret` is not set")]
    NoSharedSecret,
    /// The nonce was not given out, or not lately.
    #[error("the nonce is not known: it is good once and for a minute")]
    UnknownNonce,
    /// A request is not signed with the shared secret.
    #[error("the HMAC is wrong")]
    WrongMac,
    /// Only administrators of this server may do it.
    #[error("only an administrator of this server may do this")]
    NotAdmin,
    /// Administrators are not moderated by each other.
    #[error("an administrator's account is not locked or suspended")]
    AmongAdmins,
    /// Somebody else wants to confirm it.
    #[error("only the owner of this account can confirm this")]
    NotOwner,
    /// It must be confirmed by user-interactive authentication.
    #[error("user-interactive authentication is needed")]
    Interactive(Box<Challenge>),
    /// A field of the request is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field of the request breaks a rule.
    #[error("`{field}` {rule}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A field of the request is no string.
    #[error("`{0}` must be a string")]
    NotText(&'static str),
    /// What was sent is no JSON, or of the wrong shape.
    #[error("wrong shape: {0}")]
    Json(#[from] serde_json::Error),
    /// What is asked for does not exist.
    #[error("{0} was not found")]
    NotFound(&'static str),
    /// This type of account data has an endpoint of its own.
    #[error("account data of this type is managed by the server")]
    ManagedAccountData,
    /// The name of a profile field is too long.
    #[error("the name of the field is longer than 255 bytes")]
    FieldNameTooLong,
    /// A profile would be too large.
    #[error("the profile would be larger than 64 KiB")]
    ProfileTooLarge,
    /// A limit of the account is reached; not one of what a single request may hold.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// Too many passwords are being checked at the moment.
    #[error("too many passwords are being checked at the moment")]
    Busy,
    /// Another server did not answer as it should.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Something that should not happen.
    #[error("{0}")]
    Fault(String),
}

impl AccountError {
    /// A refusal that no rule of the action explains.
    pub(super) fn unexpected(refusal: &Refusal) -> Self {
        Self::Fault(refusal.to_string())
    }
}
