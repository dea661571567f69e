//! What application services may do with accounts, and what stays theirs.

use hearth_config::{AppserviceRegistration, Namespace, Secret};
use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{RoomAliasId, device_id, server_name};

use super::*;
use crate::accounts::Asserted;
use crate::appservices::{Appservice, Appservices};
use crate::rooms::aliases::AliasTaker;
use crate::rooms::error::RoomError;

const TOKEN: &str = "token of the bridge";

fn namespace(exclusive: bool, regex: &str) -> Namespace {
    let text = format!(r#"{{ "exclusive": {exclusive}, "regex": "{regex}" }}"#);
    serde_json::from_str(&text).unwrap()
}

fn bridge(id: &str, token: &str) -> AppserviceRegistration {
    AppserviceRegistration {
        id: id.to_owned(),
        as_token: Secret::new(token),
        sender_localpart: format!("_{id}_bot"),
        users: vec![namespace(true, &format!("@_{id}_.*"))],
        aliases: vec![namespace(true, &format!("#_{id}_.*"))],
        rate_limited: true,
        has_url: false,
    }
}

/// With a bridge, and one more service that may act for everybody.
async fn bridged(scratch: &Scratch) -> (TestServer, Accounts, Arc<Appservice>) {
    let everybody = AppserviceRegistration {
        users: vec![namespace(false, "@.*")],
        ..bridge("double", "another")
    };
    let known = [bridge("irc", TOKEN), everybody];
    let known = Appservices::new(&known, server_name!("one.test")).unwrap();
    let set = |settings: &mut crate::context::Settings| settings.appservices = Arc::new(known);
    let (server, accounts) = with_settings(scratch, set).await;
    accounts.make_senders().await.unwrap();
    let service = Arc::clone(accounts.appservice(TOKEN).unwrap());
    (server, accounts, service)
}

fn lock() -> Moderation {
    Moderation {
        locked: Some(true),
        ..Moderation::default()
    }
}

fn user(user_id: &str) -> Asserted {
    Asserted {
        user_id: Some(user_id.to_owned()),
        device_id: None,
    }
}

fn on(device_id: &str) -> Asserted {
    Asserted {
        user_id: None,
        device_id: Some(device_id.to_owned()),
    }
}

both_engines! {
    async fn a_service_acts_for_its_own_account_and_its_people(scratch: Scratch) {
        let (_server, accounts, service) = bridged(&scratch).await;
        assert!(accounts.appservice("token of the bridg").is_none());
        let own = accounts.act(&service, Asserted::default()).await.unwrap();
        assert_eq!((&*own.user_id, &own.device_id), (user_id!("@_irc_bot:one.test"), &None));
        assert!(!own.is_limited() && own.device().is_err());
        let another = accounts.appservice("another").unwrap();
        let other = accounts.act(another, user("@_irc_bot:one.test")).await.unwrap();
        assert_ne!(own.place(), other.place(), "two that act for the same person");
        // It is there already, also after the next start.
        accounts.make_senders().await.unwrap();

        let early = accounts.act(&service, user("@_irc_ann:one.test")).await;
        assert!(matches!(early, Err(AccountError::NotActedFor)), "nobody registered them");
        let made = accounts.register_by(&service, "_irc_Ann", None).await.unwrap();
        assert_eq!((&*made.user_id, made.session.is_none()), (user_id!("@_irc_ann:one.test"), true));
        let ann = accounts.act(&service, user("@_irc_ann:one.test")).await.unwrap();
        assert!(ann.is_limited() && ann.appservice.as_deref() == Some(&*service));
        let name = accounts.show_account(&ann.user_id).await.unwrap().display_name;
        assert_eq!(name.as_deref(), Some("_irc_ann"));

        let (alice, _) = join(&accounts, "alice").await;
        for other in [alice.user_id.as_str(), "@_irc_ann:two.test", "ann", ""] {
            let refused = accounts.act(&service, user(other)).await;
            assert!(matches!(refused, Err(AccountError::NotActedFor)), "{other}");
        }
        accounts.deactivate_account(&ann.user_id, false).await.unwrap();
        let closed = accounts.act(&service, user("@_irc_ann:one.test")).await;
        assert!(matches!(closed, Err(AccountError::NotActedFor)));
    }
}

both_engines! {
    async fn who_may_act_for_an_administrator_is_none(scratch: Scratch) {
        let (_server, accounts, _) = bridged(&scratch).await;
        let everybody = Arc::clone(accounts.appservice("another").unwrap());
        let root = NewAccount {
            localpart: "root".to_owned(),
            password: PASSWORD.to_owned(),
            admin: true,
            display_name: None,
        };
        accounts.create_account(root).await.unwrap();
        let acting = accounts.act(&everybody, user("@root:one.test")).await.unwrap();
        assert!(!acting.admin);
        // A token of their own would be one.
        let signed_in = accounts.login_by(&everybody, "root", NewDevice::default()).await;
        assert!(matches!(signed_in, Err(AccountError::NotActedFor)));
        // Nor do they change a password.
        let confirmed = accounts.change_password(&acting, "another one", true, None).await;
        assert!(matches!(confirmed, Err(AccountError::Interactive(_))));
    }
}

both_engines! {
    async fn names_of_a_namespace_are_kept_for_the_service(scratch: Scratch) {
        let (_server, accounts, service) = bridged(&scratch).await;
        for name in ["_irc_ann", "_IRC_Ann", "_irc_bot"] {
            let taken = accounts.available(name).await;
            assert!(matches!(taken, Err(AccountError::Exclusive(_))), "{name}");
            let registered = accounts.register(registration(name), Some(&dummy())).await;
            assert!(matches!(registered, Err(AccountError::Exclusive(_))), "{name}");
        }
        // Nor does a service take what is another's alone.
        let everybody = Arc::clone(accounts.appservice("another").unwrap());
        for name in ["_irc_ann", "_irc_bot"] {
            let taken = accounts.register_by(&everybody, name, None).await;
            assert!(matches!(taken, Err(AccountError::Exclusive(_))), "{name}");
        }
        accounts.register_by(&everybody, "somebody", None).await.unwrap();
        // What a namespace has that is not exclusive is for everybody.
        accounts.available("alice").await.unwrap();
        for (name, expected) in [("alice", "Exclusive"), ("_irc_ä", "InvalidUsername"), ("_irc_bot", "UserInUse")] {
            let refused = accounts.register_by(&service, name, None).await.unwrap_err();
            assert!(format!("{refused:?}").starts_with(expected), "{name}: {refused:?}");
        }
    }
}

both_engines! {
    async fn a_service_signs_its_people_in(scratch: Scratch) {
        let (_server, accounts, service) = bridged(&scratch).await;
        let device = NewDevice { device_id: Some("PHONE".to_owned()), ..NewDevice::default() };
        let made = accounts.register_by(&service, "_irc_ann", Some(device.clone())).await.unwrap();
        let first = made.session.unwrap();
        let again = accounts.login_by(&service, "@_irc_ann:one.test", device).await.unwrap();
        assert!(matches!(accounts.authenticate(&first.access_token).await, Err(AccountError::UnknownToken)));
        let session = accounts.authenticate(&again.access_token).await.unwrap();
        assert_eq!((session.place(), &session.appservice), (device_id!("PHONE"), &None));

        join(&accounts, "alice").await;
        for (name, expected) in [("alice", "Exclusive"), ("_irc_ben", "NotActedFor"), ("@_irc_ann:two.test", "Exclusive")] {
            let refused = accounts.login_by(&service, name, NewDevice::default()).await.unwrap_err();
            assert!(format!("{refused:?}").starts_with(expected), "{name}: {refused:?}");
        }
        accounts.moderate(&again.user_id, lock()).await.unwrap();
        let locked = accounts.login_by(&service, "_irc_ann", NewDevice::default()).await;
        assert!(matches!(locked, Err(AccountError::Locked)));
    }
}

both_engines! {
    async fn a_service_looks_after_devices(scratch: Scratch) {
        let (_server, accounts, service) = bridged(&scratch).await;
        let bot = accounts.act(&service, Asserted::default()).await.unwrap();
        let unknown = accounts.act(&service, on("BRIDGE")).await;
        assert!(matches!(unknown, Err(AccountError::UnknownDevice)));
        let (bridge, name) = (device_id!("BRIDGE"), || Some("Bridge".to_owned()));
        assert!(accounts.put_device(&bot, bridge, None).await.unwrap());
        assert!(!accounts.put_device(&bot, bridge, name()).await.unwrap());
        assert!(!accounts.put_device(&bot, bridge, None).await.unwrap());
        let device = accounts.device(bot.user_nid, bridge).await.unwrap();
        assert_eq!(device.display_name, name());
        let odd = accounts.put_device(&bot, device_id!("*"), None).await;
        assert!(matches!(odd, Err(AccountError::Invalid { field: "device_id", .. })));

        let on_it = accounts.act(&service, on("BRIDGE")).await.unwrap();
        accounts.must_stand(&on_it).await.unwrap();
        assert_eq!(on_it.device().unwrap(), bridge);
        accounts.openid_token(&on_it).await.unwrap();
        assert!(matches!(accounts.openid_token(&bot).await, Err(AccountError::NoDevice(_))));

        accounts.delete_devices(&bot, &[bridge.to_owned()], None).await.unwrap();
        assert!(matches!(accounts.must_stand(&on_it).await, Err(AccountError::UnknownDevice)));
        accounts.must_stand(&bot).await.unwrap();
        accounts.moderate(&bot.user_id, lock()).await.unwrap();
        assert!(matches!(accounts.must_stand(&bot).await, Err(AccountError::Locked)));
        accounts.deactivate_account(&bot.user_id, false).await.unwrap();
        assert!(matches!(accounts.must_stand(&bot).await, Err(AccountError::NotActedFor)));
        let late = accounts.put_device(&bot, bridge, None).await;
        assert!(matches!(late, Err(AccountError::Deactivated)));
    }
}

both_engines! {
    async fn aliases_of_a_namespace_are_kept_for_the_service(scratch: Scratch) {
        let (server, accounts, service) = bridged(&scratch).await;
        join(&accounts, "bob").await;
        let rooms = crate::rooms::Rooms::new(Arc::clone(&server.context));
        let room = rooms.create(room_of_bob(Preset::PublicChat)).await.unwrap();
        let take = async |alias: &str, appservice: Option<&Appservice>| {
            let (alias, user) = (RoomAliasId::parse(alias).unwrap(), user_id!("@bob:one.test"));
            rooms.alias_take(&alias, &room, AliasTaker { user, appservice }).await
        };
        assert!(matches!(take("#_irc_a:one.test", None).await, Err(RoomError::AliasExclusive)));
        assert!(matches!(take("#a:one.test", Some(&service)).await, Err(RoomError::AliasExclusive)));
        take("#_irc_a:one.test", Some(&service)).await.unwrap();
        take("#a:one.test", None).await.unwrap();
        let greedy = AppserviceRegistration {
            aliases: vec![namespace(false, "#.*")],
            ..bridge("greedy", "third")
        };
        let known = [bridge("irc", TOKEN), greedy];
        let both = Appservices::new(&known, server_name!("one.test")).unwrap();
        let by = both.of_token("third").map(|service| &**service);
        for (alias, expected) in [("#_irc_c:one.test", false), ("#c:one.test", true)] {
            let alias = RoomAliasId::parse(alias).unwrap();
            assert_eq!(both.may_have_alias(by, &alias), expected, "{alias}");
        }
        let named = CreateRoom { alias_name: Some("_irc_b".to_owned()), ..room_of_bob(Preset::PublicChat) };
        assert!(matches!(rooms.create(named.clone()).await, Err(RoomError::AliasExclusive)));
        rooms.create(CreateRoom { appservice: Some(Arc::clone(&service)), ..named }).await.unwrap();
    }
}
