use crate::{Secret, section::section};

section! {
    /// Who may make an account.
    pub struct Registration = "registration";

    /// Whether people may sign up by themselves.
    enabled: bool = default("false");

    /// Whether signing up needs a registration token; `hearthctl registration-token create` makes one.
    require_token: bool = default("false");

    /// A secret whose holder may create accounts over the API even when registration is closed.
    shared_secret: Option<Secret> = secret("a long random text", "no accounts by shared secret");

    /// Whether people may come as guests: with an account of their own that has no password, reads, and joins rooms
    /// that let guests in. It takes neither `enabled` nor a registration token.
    allow_guests: bool = default("false");
}
