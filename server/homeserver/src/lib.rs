//! The process: HTTP routes over the engine, wiring, tasks, telemetry, start and shutdown.

pub mod app;
pub mod client;
pub mod clock;
pub mod health;
pub mod http;
pub mod rate_limit;
pub mod routes;
pub mod server;
pub mod tasks;
pub mod web;
