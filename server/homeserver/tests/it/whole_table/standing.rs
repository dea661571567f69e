//! Every row × people who are locked, and people who are suspended.
//!
//! spec: client-server v1.19 §Account locking, §Account suspension

use hearth::{
    http::auth::AuthClass,
    routes::{self, Row},
};
use hearth_storage::both_engines;
use serde_json::{Value, json};

use super::{
    place::{Account, Door, Place},
    samples::sample,
};
use crate::harness::{Reply, request};

/// What is open to people who are locked.
const LOG_OUT: &[&str] = &["logout", "logout_all"];

/// What people may not do while they are suspended: whatever others would see of them, or that would
/// act on others.
const NOT_WHILE_SUSPENDED: &[&str] = &[
    "ban_user",
    "create_alias",
    "create_room",
    "create_typing_event",
    "delete_alias",
    "delete_profile_field",
    "invite_user",
    "join_room_by_id",
    "join_room_by_id_or_alias",
    "kick_user",
    "knock_room",
    "lock_user",
    "registration_token_create",
    "registration_token_delete",
    "report_delete",
    "request_openid_token",
    "send_message_event",
    "send_state_event",
    "set_presence",
    "set_profile_field",
    "set_room_visibility",
    "suspend_user",
    "unban_user",
    "upgrade_room",
    "user_create",
    "user_deactivate",
    "user_device_logout",
    "user_moderate",
    "user_password",
    "user_token",
];

both_engines! {
    async fn who_is_locked_may_log_out_and_nothing_else(scratch: Scratch) {
        let place = Place::over(scratch).await;
        let people = People::of(&place, true, false).await;
        let mut wrong = Vec::new();
        for row in people_rows() {
            let reply = people.ask(&row).await;
            let is_right = match LOG_OUT.contains(&row.name) {
                true => reply.status == 200,
                false => {
                    says(&reply) == (401, "M_USER_LOCKED".to_owned())
                        && reply.json()["soft_logout"] == true
                }
            };
            if !is_right {
                wrong.push(format!("{} `{}`: {reply:?}", row.method, row.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

both_engines! {
    async fn who_is_suspended_may_do_nothing_that_others_see(scratch: Scratch) {
        let place = Place::over(scratch).await;
        let people = People::of(&place, false, true).await;
        let (mut wrong, mut refused) = (Vec::new(), Vec::new());
        for row in people_rows() {
            let reply = people.ask(&row).await;
            let is_refused = says(&reply) == (403, "M_USER_SUSPENDED".to_owned());
            if is_refused {
                refused.push(row.name);
            }
            if is_refused != NOT_WHILE_SUSPENDED.contains(&row.name)
                || says(&reply).1 == "M_UNKNOWN_TOKEN"
            {
                wrong.push(format!("{} `{}`: {reply:?}", row.method, row.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        refused.sort_unstable();
        assert_eq!(refused, NOT_WHILE_SUSPENDED, "each is a row");
    }
}

/// The rows that look at a person's token.
fn people_rows() -> impl Iterator<Item = Row> {
    let is_asked = |row: &Row| {
        matches!(
            row.auth,
            AuthClass::AccessToken | AuthClass::OptionalAccessToken | AuthClass::Administrator
        )
    };
    routes::table().into_iter().filter(is_asked)
}

/// Alice and an administrator in one state, and as many more as there are ways out: whoever took one
/// would be nobody for the rows that follow.
struct People<'p> {
    place: &'p Place,
    root: Account,
    leavers: Vec<Account>,
}

impl<'p> People<'p> {
    async fn of(place: &'p Place, locked: bool, suspended: bool) -> Self {
        let root = place.administrator("root").await;
        let mut leavers = Vec::new();
        for name in LOG_OUT {
            leavers.push(place.register(name).await);
        }
        for one in leavers.iter().chain([&root, &place.alice]) {
            let path = format!("/_hearth/admin/v1/users/{}/moderation", one.user_id);
            let body = json!({ "locked": locked, "suspended": suspended });
            place.administer("PUT", &path, &body).await;
        }
        Self {
            place,
            root,
            leavers,
        }
    }

    /// A good request to a row, by somebody whom it is for.
    async fn ask(&self, row: &Row) -> Reply {
        let out = LOG_OUT.iter().position(|name| *name == row.name);
        let by = match (row.auth, out) {
            (AuthClass::Administrator, _) => &self.root,
            (_, Some(out)) => &self.leavers[out],
            _ => &self.place.alice,
        };
        let sample = sample(row, self.place, by);
        let body = match row.method.is_safe() {
            true => String::new(),
            false => sample.body.to_string(),
        };
        let bearer = format!("authorization: Bearer {}", by.token);
        let bytes = request(row.method.as_str(), &sample.target(), &[&bearer], &body);
        self.place.exchange(Door::Network, &bytes).await
    }
}

fn says(reply: &Reply) -> (u16, String) {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let errcode = body["errcode"].as_str().unwrap_or_default();
    (reply.status, errcode.to_owned())
}
