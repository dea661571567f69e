//! Tokens that admit to register, to log in, and that say who one is; and the shared secret.

use hearth_config::Secret;
use hearth_storage::both_engines;
use hearth_storage::testing::count;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::*;

fn shown(token: &str, session: Option<&str>) -> AuthData {
    auth(json!({ "type": "m.login.registration_token", "token": token, "session": session }))
}

fn dummy_in(session: Option<&str>) -> AuthData {
    auth(json!({ "type": "m.login.dummy", "session": session }))
}

async fn with_token(scratch: &hearth_storage::testing::Scratch) -> (TestServer, Accounts) {
    let (server, accounts) =
        with_settings(scratch, |settings| settings.registration_needs_token = true).await;
    let new = NewRegistrationToken {
        token: Some("once".to_owned()),
        uses_allowed: Some(1),
        expires_at_ms: Some(crate::testing::START_MS + 1_000),
    };
    accounts.create_registration_token(new).await.unwrap();
    (server, accounts)
}

both_engines! {
    async fn a_registration_token_is_the_first_stage(scratch: Scratch) {
        let (server, accounts) = with_token(&scratch).await;
        let asked = challenge(accounts.register(registration("alice"), Some(&dummy())).await.unwrap_err());
        assert_eq!(asked.flows[0].stages, [AuthType::RegistrationToken, AuthType::Dummy]);
        assert!(asked.auth_error.is_some() && asked.completed.is_empty());
        let session = asked.session.clone();
        let wrong = shown("twice", session.as_deref());
        let asked = challenge(accounts.register(registration("alice"), Some(&wrong)).await.unwrap_err());
        assert!(asked.auth_error.is_some());
        let right = shown("once", session.as_deref());
        let asked = challenge(accounts.register(registration("alice"), Some(&right)).await.unwrap_err());
        assert!(asked.auth_error.is_none());
        assert_eq!((asked.completed, &asked.session), (vec![AuthType::RegistrationToken], &session));
        assert_eq!(accounts.registration_token("once").await.unwrap().pending, 1);
        assert!(!accounts.registration_token_valid("once").await.unwrap(), "its use is held");
        let late = challenge(accounts.register(registration("bob"), Some(&shown("once", None))).await.unwrap_err());
        assert!(late.completed.is_empty(), "nobody else can show it meanwhile");

        let without = Registration { password: None, ..registration("alice") };
        let refused = accounts.register(without, Some(&dummy_in(session.as_deref()))).await;
        assert!(matches!(refused, Err(AccountError::Missing("password"))));
        accounts.register(registration("alice"), Some(&dummy_in(session.as_deref()))).await.unwrap();
        let used = accounts.registration_token("once").await.unwrap();
        assert_eq!((used.stored.completed, used.pending), (1, 0));
        assert!(!accounts.registration_token_valid("once").await.unwrap());
        assert_eq!(count(&server.context.storage, "accounts").await, 1);
    }
}

both_engines! {
    async fn a_held_use_is_given_back_when_nobody_comes(scratch: Scratch) {
        let (server, accounts) = with_token(&scratch).await;
        challenge(accounts.register(registration("alice"), Some(&shown("once", None))).await.unwrap_err());
        assert!(!accounts.registration_token_valid("once").await.unwrap());
        server.clock.advance(999);
        assert!(!accounts.registration_token_valid("once").await.unwrap());
        let more = NewRegistrationToken { token: Some("open".to_owned()), ..NewRegistrationToken::default() };
        accounts.create_registration_token(more).await.unwrap();
        challenge(accounts.register(registration("bob"), Some(&shown("open", None))).await.unwrap_err());
        assert!(accounts.registration_token_valid("open").await.unwrap(), "it has no end");
        server.clock.advance(15 * 60 * 1_000);
        assert_eq!(accounts.registration_token("once").await.unwrap().pending, 0);
        assert!(!accounts.registration_token_valid("once").await.unwrap(), "it has expired");
        assert!(!accounts.registration_token_valid("none").await.unwrap());
    }
}

both_engines! {
    async fn the_last_use_is_taken_by_one_of_two(scratch: Scratch) {
        let (server, accounts) = with_token(&scratch).await;
        // Two that were admitted to the second stage, as by two processes.
        let other = super::accounts(&server);
        let mut sessions = Vec::new();
        for accounts in [&accounts, &other] {
            let asked = accounts.register(registration("x"), Some(&shown("once", None))).await;
            sessions.push(challenge(asked.unwrap_err()).session);
        }
        let (one, two) = (dummy_in(sessions[0].as_deref()), dummy_in(sessions[1].as_deref()));
        let (one, two) = tokio::join!(
            accounts.register(registration("alice"), Some(&one)),
            other.register(registration("bob"), Some(&two)),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
        let lost = one.err().or(two.err()).unwrap();
        assert!(challenge(lost).completed.is_empty(), "it is asked for a token again");
        assert_eq!(count(&server.context.storage, "accounts").await, 1);
    }
}

both_engines! {
    async fn registration_tokens_have_rules(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let now_ms = crate::testing::START_MS;
        let long = "x".repeat(65);
        for (token, uses_allowed, expires_at_ms, field) in [
            ("", None, None, "token"),
            (&*long, None, None, "token"),
            ("a b", None, None, "token"),
            ("a", Some(0), None, "uses_allowed"),
            ("a", None, Some(now_ms), "expires_ts_ms"),
        ] {
            let new = NewRegistrationToken { token: Some(token.to_owned()), uses_allowed, expires_at_ms };
            let refused = accounts.create_registration_token(new).await.unwrap_err();
            assert!(matches!(refused, AccountError::Invalid { field: it, .. } if it == field), "{token}");
        }
        let made = accounts.create_registration_token(NewRegistrationToken::default()).await.unwrap();
        assert_eq!(made.stored.token.len(), 20);
        assert!(made.stored.token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "people type it");
        let again = NewRegistrationToken { token: Some(made.stored.token.clone()), ..NewRegistrationToken::default() };
        assert!(matches!(accounts.create_registration_token(again).await, Err(AccountError::TokenInUse)));
        let listed = accounts.list_registration_tokens("", 1).await.unwrap();
        assert_eq!((listed.tokens, listed.next), (vec![made.clone()], None));
        accounts.delete_registration_token(&made.stored.token).await.unwrap();
        let gone = accounts.delete_registration_token(&made.stored.token).await;
        assert!(matches!(gone, Err(AccountError::NotFound(_))));
    }
}

both_engines! {
    async fn a_login_token_signs_in_once(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (session, _) = join(&accounts, "alice").await;
        let asked = challenge(accounts.login_token(&session, None).await.unwrap_err());
        assert_eq!(asked.flows[0].stages, [AuthType::Password]);
        let proof = proof("alice", PASSWORD);
        let made = async || accounts.login_token(&session, Some(&proof)).await.unwrap();
        let token = made().await;
        assert_eq!(token.expires_in_ms, 120_000);
        let by = async |token: &ShortToken| accounts.login_by_token(&token.token, NewDevice::default()).await;
        let opened = by(&token).await.unwrap();
        assert_ne!(opened.device_id, session.place());
        assert!(matches!(by(&token).await, Err(AccountError::WrongLoginToken)), "it is good once");
        let late = made().await;
        server.clock.advance(120_000);
        assert!(matches!(by(&late).await, Err(AccountError::WrongLoginToken)));
        let racing = made().await;
        let (one, two) = tokio::join!(by(&racing), by(&racing));
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
        let old = made().await;
        accounts.set_password(&session.user_id, "another", false).await.unwrap();
        assert!(matches!(by(&old).await, Err(AccountError::WrongLoginToken)), "it went with the password");
    }
}

both_engines! {
    async fn an_openid_token_says_who_one_is_and_nothing_else(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (session, _) = join(&accounts, "alice").await;
        let token = accounts.openid_token(&session).await.unwrap();
        for _ in 0..2 {
            assert_eq!(accounts.openid_owner(&token.token).await.unwrap(), session.user_id);
        }
        assert!(accounts.authenticate(&token.token).await.is_err());
        assert!(accounts.login_by_token(&token.token, NewDevice::default()).await.is_err());
        server.clock.advance(token.expires_in_ms);
        assert!(matches!(accounts.openid_owner(&token.token).await, Err(AccountError::UnknownToken)));
        let token = accounts.openid_token(&session).await.unwrap();
        accounts.logout(&session).await.unwrap();
        assert!(accounts.openid_owner(&token.token).await.is_err(), "it went with the device");
        assert!(accounts.openid_token(&session).await.is_err());
    }
}

/// What somebody sends who knows a secret.
fn signed(secret: &str, nonce: String, username: &str, admin: bool) -> SignedRegistration {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    let role = if admin { "admin" } else { "notadmin" };
    mac.update(format!("{nonce}\0{username}\0{PASSWORD}\0{role}").as_bytes());
    let mac = mac.finalize().into_bytes();
    SignedRegistration {
        nonce,
        username: username.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: None,
        admin,
        user_type: None,
        mac: mac.iter().map(|byte| format!("{byte:02x}")).collect(),
        inhibit_login: false,
    }
}

both_engines! {
    async fn who_knows_the_secret_registers_anybody(scratch: Scratch) {
        let (server, accounts) = with_settings(&scratch, |settings| {
            settings.registration_enabled = false;
            settings.registration_shared_secret = Some(Secret::new("secret"));
        })
        .await;
        let nonce = || accounts.registration_nonce().unwrap();
        let wanted = signed("secret", nonce(), "root", true);
        let made = accounts.register_signed(wanted.clone()).await.unwrap();
        let token = made.session.unwrap().access_token;
        assert!(accounts.authenticate(&token).await.unwrap().admin);
        let again = accounts.register_signed(wanted).await;
        assert!(matches!(again, Err(AccountError::UnknownNonce)), "a nonce is good once");

        let wrong = accounts.register_signed(signed("Secret", nonce(), "eve", true)).await;
        assert!(matches!(wrong, Err(AccountError::WrongMac)));
        let raised = SignedRegistration { admin: true, ..signed("secret", nonce(), "eve", false) };
        assert!(matches!(accounts.register_signed(raised).await, Err(AccountError::WrongMac)));
        let odd = SignedRegistration { mac: "xyz".to_owned(), ..signed("secret", nonce(), "eve", false) };
        assert!(matches!(accounts.register_signed(odd).await, Err(AccountError::WrongMac)));
        let late = nonce();
        server.clock.advance(60_000);
        let late = accounts.register_signed(signed("secret", late, "eve", false)).await;
        assert!(matches!(late, Err(AccountError::UnknownNonce)));
        assert!(accounts.available("eve").await.is_ok());
        let taken = accounts.register_signed(signed("secret", nonce(), "root", false)).await;
        assert!(matches!(taken, Err(AccountError::UserInUse)));
        let silent = SignedRegistration { inhibit_login: true, ..signed("secret", nonce(), "bob", false) };
        assert!(accounts.register_signed(silent).await.unwrap().session.is_none());
    }
}

both_engines! {
    async fn without_a_secret_nobody_knows_it(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        assert!(matches!(accounts.registration_nonce(), Err(AccountError::NoSharedSecret)));
        let wanted = signed("", "nonce".to_owned(), "eve", true);
        assert!(matches!(accounts.register_signed(wanted).await, Err(AccountError::NoSharedSecret)));
    }
}
