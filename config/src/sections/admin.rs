use std::path::PathBuf;

use crate::section::section;

section! {
    /// The admin API that `hearthctl` speaks.
    pub struct Admin = "admin";

    /// The Unix socket; only the user that runs the server may open it. At most 100 bytes long.
    socket: Option<PathBuf> = optional("/run/hearth/admin.sock", "`admin.sock` in the data directory");
}
