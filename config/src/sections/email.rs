use crate::section::section;

section! {
    /// Outgoing mail.
    pub struct Email = "email";

    /// The mail server.
    smtp_host: String = default("localhost") reserved;

    /// Its port.
    smtp_port: u16 = default("25") reserved;

    /// The sender of every mail.
    from: String = default("hearth@localhost") reserved;
}
