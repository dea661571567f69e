use std::path::PathBuf;

use crate::{PublicUrl, ServerName, section::section};

section! {
    /// Who this server is, and where it keeps its files.
    pub struct Server = "server";

    /// The server's name: the part of every user id after the colon. It can never be changed once
    /// people have accounts. Host, host:port or an IP literal with port.
    name: ServerName = required("chat.example.org");

    /// The address that clients use to reach this server.
    public_url: Option<PublicUrl> = optional("https://chat.example.org", "`https://` and the server's name");

    /// A page that tells people what limits their accounts have here. Whoever reaches one (of push rules,
    /// tags, filters, key backups) is led to it.
    limits_url: Option<PublicUrl> = optional("https://chat.example.org/limits", "the address that clients use");

    /// The folder for everything the server writes: keys, the SQLite database, the admin socket. It
    /// is created when missing and belongs to one running server at a time.
    data_dir: PathBuf = default("/var/lib/hearth");
}
