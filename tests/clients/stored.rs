//! `stored DATABASE`: reads texts from standard input, one a line, and prints those that a database
//! holds anywhere, in events as they are once unpacked, too.

use std::io::{self, Read as _, Write as _};

use hearth_storage::testing::{Scratch, dump};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Some(database) = std::env::args().nth(1) else {
        return Err(io::Error::other("say which database: stored DATABASE"));
    };
    let mut texts = String::new();
    io::stdin().read_to_string(&mut texts)?;
    let stored = dump(&Scratch::at(&database)).await;
    for text in texts.lines().filter(|text| stored.contains(*text)) {
        writeln!(io::stdout(), "{text}")?;
    }
    Ok(())
}
