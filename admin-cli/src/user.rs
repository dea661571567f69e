//! `hearthctl user …`.

use hearth_admin_api::{
    CreateUserRequest, DeactivateUserRequest, DeviceList, Empty, ModerateUserRequest,
    OpenSessionRequest, OpenedSession, Password, SetPasswordRequest, USER_CREATE, USER_DEACTIVATE,
    USER_DEVICE_LOGOUT, USER_DEVICES, USER_LIST, USER_MODERATE, USER_PASSWORD, USER_SHOW,
    USER_TOKEN, User, UserList,
};

use crate::{
    admin_client::AdminClient,
    arguments::{ChangePassword, CreateUser, Deactivate, Devices, UserToken},
    error::CliError,
    output::{Outcome, table, time, to_json},
    password,
};

pub(crate) async fn create(client: &AdminClient, create: &CreateUser) -> Result<Created, CliError> {
    let chosen = password::choose(&create.password)?;
    let request = CreateUserRequest {
        localpart: create.localpart.clone(),
        password: chosen.password.clone(),
        display_name: create.display_name.clone(),
        admin: create.admin,
    };
    let user: User = client.send(USER_CREATE, USER_CREATE.path, &request).await?;
    Ok(Created {
        user,
        password: chosen.generated.then_some(chosen.password),
    })
}

pub(crate) async fn list(client: &AdminClient) -> Result<Users, CliError> {
    let page = |page: UserList| (page.users, page.next);
    Ok(Users(client.every(USER_LIST, page).await?))
}

pub(crate) async fn show(client: &AdminClient, user: &str) -> Result<Shown, CliError> {
    let path = USER_SHOW.path_with(&[&client.user_id(user).await?]);
    Ok(Shown(client.get(USER_SHOW, &path).await?))
}

pub(crate) async fn moderate(
    client: &AdminClient,
    user: &str,
    request: ModerateUserRequest,
) -> Result<Shown, CliError> {
    let path = USER_MODERATE.path_with(&[&client.user_id(user).await?]);
    Ok(Shown(client.send(USER_MODERATE, &path, &request).await?))
}

pub(crate) async fn deactivate(
    client: &AdminClient,
    deactivate: &Deactivate,
) -> Result<Done, CliError> {
    let user_id = client.user_id(&deactivate.user).await?;
    let path = USER_DEACTIVATE.path_with(&[&user_id]);
    let request = DeactivateUserRequest {
        erase: deactivate.erase,
    };
    let _: Empty = client.send(USER_DEACTIVATE, &path, &request).await?;
    Ok(Done {
        did: "Closed the account of",
        user_id,
    })
}

/// Lists the devices that are left once those to be logged out are.
pub(crate) async fn devices(
    client: &AdminClient,
    devices: &Devices,
) -> Result<ShownDevices, CliError> {
    let user_id = client.user_id(&devices.user).await?;
    for device_id in &devices.log_out {
        let path = USER_DEVICE_LOGOUT.path_with(&[&user_id, device_id]);
        let _: Empty = client.get(USER_DEVICE_LOGOUT, &path).await?;
    }
    let path = USER_DEVICES.path_with(&[&user_id]);
    Ok(ShownDevices(client.get(USER_DEVICES, &path).await?))
}

pub(crate) async fn token(
    client: &AdminClient,
    wanted: &UserToken,
) -> Result<ShownToken, CliError> {
    let path = USER_TOKEN.path_with(&[&client.user_id(&wanted.user).await?]);
    let request = OpenSessionRequest {
        device_id: None,
        display_name: Some(wanted.device_name.clone()),
    };
    Ok(ShownToken(client.send(USER_TOKEN, &path, &request).await?))
}

pub(crate) async fn password(
    client: &AdminClient,
    change: &ChangePassword,
) -> Result<PasswordSet, CliError> {
    let chosen = password::choose(&change.password)?;
    let user_id = client.user_id(&change.user).await?;
    let request = SetPasswordRequest {
        password: chosen.password.clone(),
        log_out: !change.keep_devices,
    };
    let path = USER_PASSWORD.path_with(&[&user_id]);
    let _: Empty = client.send(USER_PASSWORD, &path, &request).await?;
    Ok(PasswordSet {
        user_id,
        password: chosen.generated.then_some(chosen.password),
    })
}

/// A new account, and its password if it was made here.
#[derive(serde::Serialize)]
pub(crate) struct Created {
    #[serde(flatten)]
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Password>,
}

impl Outcome for Created {
    fn text(&self) -> String {
        format!(
            "Created {}.{}",
            self.user.user_id,
            shown_once(self.password.as_ref())
        )
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

/// A changed password.
#[derive(serde::Serialize)]
pub(crate) struct PasswordSet {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Password>,
}

impl Outcome for PasswordSet {
    fn text(&self) -> String {
        format!(
            "Set the password of {}.{}",
            self.user_id,
            shown_once(self.password.as_ref())
        )
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

fn shown_once(password: Option<&Password>) -> String {
    password
        .map(|password| format!("\nPassword: {}\nIt is not shown again.", password.expose()))
        .unwrap_or_default()
}

/// Every account.
pub(crate) struct Users(Vec<User>);

impl Outcome for Users {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "No accounts yet: hearthctl user create NAME makes one.".to_owned();
        }
        let line = |user: &User| {
            let name = user.display_name.clone().unwrap_or_default();
            vec![user.user_id.clone(), role(user), name]
        };
        table(self.0.iter().map(line))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "users": to_json(&self.0) })
    }
}

/// What an account is, in a few words.
fn role(user: &User) -> String {
    if user.deactivated {
        return "deactivated".to_owned();
    }
    let words = [
        (user.locked, "locked"),
        (user.suspended, "suspended"),
        (user.admin, "admin"),
        (user.guest, "guest"),
    ];
    let words = words.iter().filter(|(is_so, _)| *is_so);
    let words: Vec<&str> = words.map(|(_, word)| *word).collect();
    match words.is_empty() {
        true => "user".to_owned(),
        false => words.join(", "),
    }
}

/// One account.
pub(crate) struct Shown(User);

impl Outcome for Shown {
    fn text(&self) -> String {
        let user = &self.0;
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        table([
            row("user", user.user_id.clone()),
            row("name", user.display_name.clone().unwrap_or_default()),
            row("is", role(user)),
            row(
                "administrator",
                if user.admin { "yes" } else { "no" }.to_owned(),
            ),
            row("since", time(user.created_ts_ms)),
        ])
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

/// Something that was done to an account.
#[derive(serde::Serialize)]
pub(crate) struct Done {
    #[serde(skip)]
    did: &'static str,
    user_id: String,
}

impl Outcome for Done {
    fn text(&self) -> String {
        format!("{} {}.", self.did, self.user_id)
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

/// The devices of an account.
pub(crate) struct ShownDevices(DeviceList);

impl Outcome for ShownDevices {
    fn text(&self) -> String {
        if self.0.devices.is_empty() {
            return "No devices: nobody is signed in.".to_owned();
        }
        table(self.0.devices.iter().map(|device| {
            vec![
                device.device_id.clone(),
                device.last_seen_ts_ms.map(time).unwrap_or_default(),
                device.last_seen_address.clone().unwrap_or_default(),
                device.display_name.clone().unwrap_or_default(),
            ]
        }))
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

/// A session that was opened.
pub(crate) struct ShownToken(OpenedSession);

impl Outcome for ShownToken {
    fn text(&self) -> String {
        format!(
            "Signed {} in on the device {}.\nAccess token: {}\nIt is not shown again.",
            self.0.user_id,
            self.0.device_id,
            self.0.access_token.expose()
        )
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_all_that_it_is_at_once() {
        let user = |words: &str| User {
            user_id: "@alice:one.test".to_owned(),
            display_name: None,
            admin: words.contains("admin"),
            deactivated: words.contains("deactivated"),
            locked: words.contains("locked"),
            suspended: words.contains("suspended"),
            guest: words.contains("guest"),
            created_ts_ms: 0,
        };
        for (is, expected) in [
            ("", "user"),
            ("admin", "admin"),
            ("guest", "guest"),
            ("locked suspended", "locked, suspended"),
            ("admin suspended", "suspended, admin"),
            ("guest suspended", "suspended, guest"),
            ("deactivated locked suspended", "deactivated"),
        ] {
            let user = user(is);
            assert_eq!(role(&user), expected);
        }
    }
}
