//! `hearthctl registration-token …`.

use hearth_admin_api::{
    CreateRegistrationTokenRequest, Empty, REGISTRATION_TOKEN_CREATE, REGISTRATION_TOKEN_DELETE,
    REGISTRATION_TOKEN_LIST, REGISTRATION_TOKEN_SHOW, RegistrationToken, RegistrationTokenList,
};

use crate::{
    admin_client::AdminClient,
    arguments::CreateToken,
    error::CliError,
    output::{Outcome, table, time, to_json},
    tls,
};

pub(crate) async fn create(client: &AdminClient, wanted: &CreateToken) -> Result<Shown, CliError> {
    let now_ms = i64::try_from(tls::now().as_secs()).unwrap_or(i64::MAX / 2_000) * 1_000;
    let request = CreateRegistrationTokenRequest {
        token: wanted.token.clone(),
        uses_allowed: wanted.uses,
        expires_ts_ms: wanted.valid_for.map(|for_ms| now_ms.saturating_add(for_ms)),
    };
    let (endpoint, path) = (REGISTRATION_TOKEN_CREATE, REGISTRATION_TOKEN_CREATE.path);
    Ok(Shown(client.send(endpoint, path, &request).await?))
}

pub(crate) async fn list(client: &AdminClient) -> Result<Tokens, CliError> {
    let page = |page: RegistrationTokenList| (page.tokens, page.next);
    Ok(Tokens(client.every(REGISTRATION_TOKEN_LIST, page).await?))
}

pub(crate) async fn show(client: &AdminClient, token: &str) -> Result<Shown, CliError> {
    let path = REGISTRATION_TOKEN_SHOW.path_with(&[token]);
    Ok(Shown(client.get(REGISTRATION_TOKEN_SHOW, &path).await?))
}

pub(crate) async fn delete(client: &AdminClient, token: &str) -> Result<Deleted, CliError> {
    let path = REGISTRATION_TOKEN_DELETE.path_with(&[token]);
    let _: Empty = client.get(REGISTRATION_TOKEN_DELETE, &path).await?;
    Ok(Deleted {
        token: token.to_owned(),
    })
}

/// One token.
pub(crate) struct Shown(RegistrationToken);

impl Outcome for Shown {
    fn text(&self) -> String {
        table([line(&self.0)])
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

/// Every token.
pub(crate) struct Tokens(Vec<RegistrationToken>);

impl Outcome for Tokens {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "No tokens yet: hearthctl registration-token create makes one.".to_owned();
        }
        table(self.0.iter().map(line))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "tokens": to_json(&self.0) })
    }
}

fn line(token: &RegistrationToken) -> Vec<String> {
    let of = match token.uses_allowed {
        Some(allowed) => format!("used {} of {allowed} times", token.completed),
        None => format!("used {} times", token.completed),
    };
    let until = match token.expires_ts_ms {
        Some(at_ms) => format!("until {}", time(at_ms)),
        None => "until it is removed".to_owned(),
    };
    vec![token.token.clone(), of, until]
}

/// A token that is gone.
#[derive(serde::Serialize)]
pub(crate) struct Deleted {
    token: String,
}

impl Outcome for Deleted {
    fn text(&self) -> String {
        format!("Removed the registration token {}.", self.token)
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}
