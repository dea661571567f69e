use std::path::PathBuf;

use crate::section::section;

section! {
    /// Bridges and bots with a registration.
    pub struct Appservice = "appservice";

    /// Registration files (YAML), one per application service.
    registrations: Vec<PathBuf> = default("[]") reserved;
}
