//! Every setting of Hearth: one documented struct per section, read from four layers
//! (defaults < file < `HEARTH_…` environment < flags) and checked as a whole, so that the rest
//! of the program sees only values that make sense.
//!
//! A section is written once, in [`sections`], by a macro that keeps type, documentation and
//! default together; `config/hearth.example.toml` and `docs/configuration.md` are generated from
//! it by [`document`].

#![deny(missing_docs)]

mod appservice;
mod checks;
mod config;
pub mod document;
mod environment;
mod error;
mod layers;
mod reader;
mod secret;
mod section;
pub mod sections;
mod setting;
mod suggest;
mod values;

pub use appservice::{AppserviceRegistration, Namespace};
pub use config::{Config, Override};
pub use environment::variables;
pub use error::ConfigError;
pub use ipnet::IpNet;
pub use secret::Secret;
pub use values::{
    DatabaseUrl, EncryptionDefault, LogFormat, LogLevel, PublicUrl, Resource, ServerName,
};
