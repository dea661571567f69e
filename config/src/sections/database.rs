use crate::{DatabaseUrl, section::section};

section! {
    /// Where rooms, people and events are kept.
    pub struct Database = "database";

    /// `sqlite://` and the path of a file, or `postgres://user:password@host/name`.
    url: Option<DatabaseUrl> = secret("sqlite:///var/lib/hearth/hearth.db", "the SQLite file `hearth.db` in the data directory");
}
