//! Writes `config/hearth.example.toml` and `docs/configuration.md` from the sections.

use std::{fs, io, path::Path};

use hearth_config::document;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::write(root.join("config/hearth.example.toml"), document::example())?;
    fs::write(root.join("docs/configuration.md"), document::reference())
}
