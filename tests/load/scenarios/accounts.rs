//! Registering and logging in.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use clap::Args;
use serde_json::json;

use crate::World;
use crate::error::LoadError;
use crate::http::Call;
use crate::measure::{Amount, measure};
use crate::people::{PASSWORD, register};
use crate::process::Processes;

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
    /// Memory of one hash of argon2id, in KiB, as the server has it.
    #[arg(long, default_value_t = 19_456)]
    argon2_memory_kib: u32,
    /// Its passes.
    #[arg(long, default_value_t = 2)]
    argon2_passes: u32,
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
        self.hash_alone(world)
    }

    /// What one hash costs by itself, on this machine and now: the rest of a login is the server's.
    fn hash_alone(&self, world: &World) -> Result<(), LoadError> {
        const HASHES: u32 = 50;
        let cost = Params::new(self.argon2_memory_kib, self.argon2_passes, 1, None);
        let cost = cost.map_err(|error| LoadError::Cost(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
        let own = Processes::new(vec![std::process::id()]);
        let before = own.cpu()?;
        for number in 0..HASHES {
            let (mut hash, salt) = ([0; 32], [0; 12]);
            let salt = [&salt[..], &number.to_be_bytes()].concat();
            argon2
                .hash_password_into(PASSWORD.as_bytes(), &salt, &mut hash)
                .map_err(|error| LoadError::Cost(error.to_string()))?;
            std::hint::black_box(hash);
        }
        let each = (own.cpu()? - before) / HASHES;
        let each = each.as_secs_f64() * 1_000.0;
        world
            .report
            .figure("one hash alone", each, "ms of processor");
        Ok(())
    }
}
