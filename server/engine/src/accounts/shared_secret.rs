//! Accounts for those who know the server's registration secret: the scheme that the tools of this
//! field speak. What they send is signed with the secret, which itself does not travel, and with a
//! nonce of ours, so that it is good once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::register::{Creation, Kind, Registered};
use super::{AccountError, Accounts, NewDevice, profile};

/// How long a nonce is good.
const NONCE_LIFETIME_MS: i64 = 60 * 1_000;

/// Nonces that are open at a time; the oldest gives way to a new one.
const NONCES_MAX: usize = 1_000;

/// The nonces that were given out, the oldest first.
#[derive(Default)]
pub(super) struct Nonces(Mutex<VecDeque<(i64, String)>>);

/// An account that somebody asks for who knows the secret.
#[derive(Clone)]
pub struct SignedRegistration {
    /// The nonce that was given out for it.
    pub nonce: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// The name that others see; the user name where there is none.
    pub display_name: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// The kind of account, which is signed where it is given.
    pub user_type: Option<String>,
    /// The signature: HMAC-SHA1, hexadecimal.
    pub mac: String,
    /// Whether no session is wanted.
    pub inhibit_login: bool,
}

impl fmt::Debug for SignedRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRegistration")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Nonces {
    fn give(&self, nonce: String, now_ms: i64) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() >= NONCES_MAX || open.front().is_some_and(|(until, _)| *until <= now_ms) {
            open.pop_front();
        }
        open.push_back((now_ms + NONCE_LIFETIME_MS, nonce));
    }

    /// Whether a nonce was given out and is good; it is not again.
    fn take(&self, nonce: &str, now_ms: i64) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = open.iter().position(|(_, it)| it == nonce);
        let taken = place.and_then(|place| open.remove(place));
        taken.is_some_and(|(until, _)| until > now_ms)
    }
}

impl Accounts {
    /// A nonce for one registration by the shared secret.
    ///
    /// # Errors
    /// [`AccountError::NoSharedSecret`].
    pub fn registration_nonce(&self) -> Result<String, AccountError> {
        if self.context.settings.registration_shared_secret.is_none() {
            return Err(AccountError::NoSharedSecret);
        }
        let nonce = self.context.random_word::<24>();
        self.nonces.give(nonce.clone(), self.context.clock.now_ms());
        Ok(nonce)
    }

    /// Registers somebody, whatever the registration settings say, for who knows the shared secret.
    ///
    /// # Errors
    /// [`AccountError::NoSharedSecret`], [`AccountError::UnknownNonce`], [`AccountError::WrongMac`],
    /// and what [`Accounts::available`] and [`Accounts::create_account`] refuse.
    pub async fn register_signed(
        &self,
        wanted: SignedRegistration,
    ) -> Result<Registered, AccountError> {
        let secret = &self.context.settings.registration_shared_secret;
        let secret = secret.as_ref().ok_or(AccountError::NoSharedSecret)?;
        if !self.nonces.take(&wanted.nonce, self.context.clock.now_ms()) {
            return Err(AccountError::UnknownNonce);
        }
        if !is_signed(&wanted, secret.expose()) {
            return Err(AccountError::WrongMac);
        }
        let user_id = self.available(&wanted.username).await?;
        if let Some(name) = &wanted.display_name {
            profile::check_display_name(name)?;
        }
        let device = (!wanted.inhibit_login).then(NewDevice::default);
        self.create(Creation {
            display_name: wanted
                .display_name
                .or_else(|| Some(user_id.localpart().to_owned())),
            user_id,
            kind: Kind::of_admin(wanted.admin),
            password: Some(wanted.password),
            created_at_ms: self.context.clock.now_ms(),
            device,
            registration_token: None,
        })
        .await
    }
}

/// Whether the signature is right; compared in constant time.
fn is_signed(wanted: &SignedRegistration, secret: &str) -> bool {
    let (Some(shown), Ok(mut mac)) = (
        from_hex(&wanted.mac),
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()),
    ) else {
        return false;
    };
    let admin = if wanted.admin { "admin" } else { "notadmin" };
    let fields = [&wanted.nonce, &wanted.username, &wanted.password, admin];
    mac.update(fields.join("\0").as_bytes());
    if let Some(user_type) = &wanted.user_type {
        mac.update(b"\0");
        mac.update(user_type.as_bytes());
    }
    mac.verify_slice(&shown).is_ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks(2)
            .map(|two| two.iter().fold(0, |byte, digit| byte * 16 + digit))
            .collect(),
    )
}
