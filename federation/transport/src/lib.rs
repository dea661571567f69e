//! Talking to other servers.
//!
//! Outwards: a server name becomes a place ([`discovery`]), a request is signed ([`x_matrix`]) and
//! carried there ([`wire`], over the [`guarded`] client with its [`network_policy`]); [`client`] has
//! one typed method for each endpoint, and [`backoff`] leaves those alone that do not answer.
//! Inwards: [`inbound`] checks who sent a request and takes transactions apart, and [`key_ring`]
//! fetches the keys for that and for events.
//!
//! Nothing here decides about rooms, and nothing here stores: what must be remembered goes through
//! [`key_ring::KeyStore`] and [`backoff::BackoffStore`].

pub mod backoff;
pub mod client;
pub mod discovery;
pub mod dns;
mod expiring;
pub mod guarded;
pub mod inbound;
mod json;
pub mod key_ring;
pub mod network_policy;
mod single_flight;
#[cfg(test)]
mod testing;
pub mod tls_trust;
pub mod wire;
pub mod x_matrix;
