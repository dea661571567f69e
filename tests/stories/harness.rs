//! Typed people on typed servers: `one.person("alice")`.

mod authority;
mod database;
mod person;
mod server;
mod stranger;

pub(crate) use authority::Authority;
pub(crate) use database::{On, postgres_behind};
pub(crate) use person::{Person, escaped};
pub(crate) use server::{Server, Settings};
pub(crate) use stranger::{Stranger, raw};

/// Makes two tests of one story: `sqlite` and `postgres`.
macro_rules! on_both_engines {
    ($(#[$meta:meta])* async fn $name:ident($on:ident: On) $body:block) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn story($on: On) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                story(On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                story(On::Postgres).await;
            }
        }
    };
}
pub(crate) use on_both_engines;
