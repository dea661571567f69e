//! The process: HTTP routes over the engine, wiring, tasks, telemetry, start and shutdown.

pub mod admin;
pub mod ambient;
pub mod app;
pub mod client;
pub mod concurrency;
pub mod counts;
pub mod data_dir;
mod federation;
pub mod health;
pub mod homeserver;
pub mod http;
pub mod metrics;
pub mod rate_limit;
pub mod routes;
pub mod server;
pub mod signing_key;
pub mod startup;
pub mod tasks;
pub mod telemetry;
mod used_database;
pub mod web;
pub mod wiring;
