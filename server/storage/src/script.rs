//! Statements that SQLite is handed at once.
//!
//! A connection to SQLite is a thread, and each statement a way there and back: two changes of
//! threads, which cost more than a small statement does. A write whose result nobody needs waits in a
//! script instead, and goes along with what comes after it.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};

/// Statements with nameless parameters, and the values of these, in order. After an error, what comes
/// behind it has no effect.
#[derive(Debug, Default)]
pub(crate) struct Script {
    text: String,
    arguments: SqliteArguments,
    failed: Option<sqlx::Error>,
}

impl Script {
    /// Adds a statement without parameters.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push(';');
    }

    /// Runs what waits; returns how many rows were written.
    ///
    /// # Errors
    /// The first one of a statement.
    pub(crate) async fn run(&mut self, conn: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let script = std::mem::take(self);
        if let Some(error) = script.failed {
            return Err(error);
        }
        if script.text.is_empty() {
            return Ok(0);
        }
        let query = sqlx::query_with(AssertSqlSafe(script.text), script.arguments);
        Ok(query.execute(conn).await?.rows_affected())
    }
}

/// A borrowed connection to SQLite.
#[derive(Debug)]
pub struct Lite<'c> {
    conn: &'c mut SqliteConnection,
    /// Where writes wait.
    script: Option<&'c mut Script>,
    /// A write that does not.
    now: Script,
}

impl<'c> Lite<'c> {
    /// A connection on which writes wait in a script, where there is one.
    pub(crate) fn new(conn: &'c mut SqliteConnection, script: Option<&'c mut Script>) -> Self {
        Self {
            conn,
            script,
            now: Script::default(),
        }
    }

    /// The same connection for one more statement.
    pub(crate) fn again(&mut self) -> Lite<'_> {
        Lite::new(self.conn, self.script.as_deref_mut())
    }

    /// The connection, once what waits has run.
    ///
    /// # Errors
    /// When that fails.
    pub async fn settled(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        if let Some(script) = &mut self.script {
            script.run(self.conn).await?;
        }
        Ok(self.conn)
    }

    /// Begins a write; its values are bound next.
    pub fn write(&mut self, text: &str) {
        self.script().push(text);
    }

    /// Binds the next value of the write.
    pub fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) {
        let script = self.script();
        if let Err(error) = script.arguments.add(value) {
            script.failed.get_or_insert(sqlx::Error::Encode(error));
        }
    }

    /// Ends the write: it runs, or waits. Returns how many rows were written by now.
    ///
    /// # Errors
    /// When it ran and failed.
    pub async fn written(&mut self) -> Result<u64, sqlx::Error> {
        self.now.run(self.conn).await
    }

    fn script(&mut self) -> &mut Script {
        match &mut self.script {
            Some(script) => script,
            None => &mut self.now,
        }
    }
}
