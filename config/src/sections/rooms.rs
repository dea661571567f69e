use crate::section::section;

section! {
    /// Defaults and limits of rooms.
    pub struct Rooms = "rooms";

    /// The version of a new room, unless its creator asks for another.
    default_version: String = default("12");

    /// Whether the public room list may be read without an account.
    public_list_without_login: bool = default("true") reserved;

    /// Whether a person must be in a room to give it an alias.
    alias_needs_membership: bool = default("false") reserved;
}
