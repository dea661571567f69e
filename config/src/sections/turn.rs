use crate::{Secret, section::section};

section! {
    /// Relays for calls, handed to clients.
    pub struct Turn = "turn";

    /// Addresses of TURN servers, such as `turn:turn.example.org?transport=udp`.
    uris: Vec<String> = default("[]") reserved;

    /// The secret shared with the TURN servers, from which passwords are made.
    secret: Option<Secret> = secret("a long random text", "no credentials") reserved;
}
