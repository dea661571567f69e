//! `hearthctl user …`.

use hearth_admin_api::{
    CreateUserRequest, Empty, Endpoint, Password, SetPasswordRequest, USER_CREATE, USER_LIST,
    USER_PASSWORD, User, UserList,
};
use hearth_config::Config;

use crate::{
    admin_client::AdminClient,
    arguments::{ChangePassword, CreateUser},
    error::CliError,
    output::{Outcome, to_json},
    password,
};

pub(crate) async fn create(config: &Config, create: &CreateUser) -> Result<Created, CliError> {
    let chosen = password::choose(&create.password)?;
    let request = CreateUserRequest {
        localpart: create.localpart.clone(),
        password: chosen.password.clone(),
        display_name: create.display_name.clone(),
        admin: create.admin,
    };
    let user: User = AdminClient::new(config)
        .send(USER_CREATE, USER_CREATE.path, &request)
        .await?;
    Ok(Created {
        user,
        password: chosen.generated.then_some(chosen.password),
    })
}

pub(crate) async fn list(config: &Config) -> Result<Users, CliError> {
    let client = AdminClient::new(config);
    let mut users = Vec::new();
    let mut path = USER_LIST.path.to_owned();
    loop {
        let page: UserList = client.get(USER_LIST, &path).await?;
        users.extend(page.users);
        match page.next {
            Some(after) => path = next_page(USER_LIST, &after),
            None => return Ok(Users(users)),
        }
    }
}

/// The list's path with its cursor, encoded as one segment would be.
fn next_page(endpoint: Endpoint, after: &str) -> String {
    let query = Endpoint {
        method: endpoint.method,
        path: "{after}",
    };
    format!("{}?after={}", endpoint.path, query.path_with(&[after]))
}

pub(crate) async fn password(
    config: &Config,
    change: &ChangePassword,
) -> Result<PasswordSet, CliError> {
    let chosen = password::choose(&change.password)?;
    let user_id = user_id(&change.user, config.server.name.as_str());
    let request = SetPasswordRequest {
        password: chosen.password.clone(),
        log_out: !change.keep_devices,
    };
    let path = USER_PASSWORD.path_with(&[&user_id]);
    let _: Empty = AdminClient::new(config)
        .send(USER_PASSWORD, &path, &request)
        .await?;
    Ok(PasswordSet {
        user_id,
        password: chosen.generated.then_some(chosen.password),
    })
}

/// A user id as it is, or the one that a localpart has on this server.
fn user_id(user: &str, server_name: &str) -> String {
    match user.strip_prefix('@') {
        Some(_) => user.to_owned(),
        None => format!("@{user}:{server_name}"),
    }
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
        let width = self
            .0
            .iter()
            .map(|user| user.user_id.chars().count())
            .max()
            .unwrap_or(0);
        let line = |user: &User| {
            let role = match (user.deactivated, user.admin) {
                (true, _) => "deactivated",
                (false, true) => "admin",
                (false, false) => "user",
            };
            let name = user.display_name.as_deref().unwrap_or_default();
            format!("{:width$}  {role:11}  {name}", user.user_id)
                .trim_end()
                .to_owned()
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "users": to_json(&self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_localpart_is_completed_and_a_user_id_is_kept() {
        assert_eq!(user_id("alice", "one.test"), "@alice:one.test");
        assert_eq!(user_id("@alice:one.test", "one.test"), "@alice:one.test");
    }

    #[test]
    fn the_cursor_of_the_next_page_is_encoded() {
        assert_eq!(
            next_page(USER_LIST, "@a+b&c:one.test"),
            "/_hearth/admin/v1/users?after=%40a%2Bb%26c%3Aone.test"
        );
    }
}
