use crate::{EncryptionDefault, section::section};

section! {
    /// Defaults and limits of rooms.
    pub struct Rooms = "rooms";

    /// The version of a new room, unless its creator asks for another.
    default_version: String = default("12");

    /// Which new rooms are encrypted although the client that makes them does not ask for it. Most clients do, for private
    /// rooms; `private` holds the others to it. Spaces are not encrypted, nor are rooms that an application service
    /// makes without asking for it. Nobody can take encryption away from a room again.
    encryption_by_default: EncryptionDefault = default("never");

    /// Whether the public room list may be read without an account.
    public_list_without_login: bool = default("true") reserved;

    /// Whether a person must be in a room to give it an alias.
    alias_needs_membership: bool = default("false") reserved;
}
