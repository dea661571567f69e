//! Registering and logging in.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::World;
use crate::error::LoadError;
use crate::http::Call;
use crate::measure::{Amount, measure};
use crate::people::{PASSWORD, register};

/// Registrations.
#[derive(Args)]
pub(crate) struct Register {
    /// How many, one after the other.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl Register {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let http = Arc::clone(&world.people.http);
        let names: Arc<Vec<_>> = Arc::new(
            (0..self.requests)
                .map(|_| world.people.free_name())
                .collect(),
        );
        measure(
            world,
            "register",
            Amount {
                workers: 1,
                requests: self.requests,
            },
            move |number| {
                let (http, names) = (Arc::clone(&http), Arc::clone(&names));
                async move { register(&http, &names[number]).await.map(|_| ()) }
            },
        )
        .await?;
        Ok(())
    }
}

/// Logins with a password.
#[derive(Args)]
pub(crate) struct Login {
    /// How many, one after the other.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl Login {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = world.people.person().await?;
        let http = Arc::clone(&world.people.http);
        measure(
            world,
            "log in",
            Amount {
                workers: 1,
                requests: self.requests,
            },
            move |_| {
                let (http, person) = (Arc::clone(&http), Arc::clone(&person));
                async move {
                    let body = json!({
                        "type": "m.login.password",
                        "identifier": {"type": "m.id.user", "user": person.user_id},
                        "password": PASSWORD,
                    });
                    http.ask(None, Call::post("/v3/login", body))
                        .await
                        .map(|_| ())
                }
            },
        )
        .await?;
        Ok(())
    }
}
