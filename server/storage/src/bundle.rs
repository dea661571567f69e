//! Writes that PostgreSQL is handed in one statement.
//!
//! A statement is a message to another process and one back: two changes of processes, which cost
//! more than a small write does. A write whose result nobody needs waits in a bundle instead, and goes
//! along with what comes after it, each as one part of a `WITH`.
//!
//! All parts see the tables as they were before the statement (PostgreSQL, "Data-Modifying Statements
//! in WITH"), so that a write which mentions a table that a waiting one changes comes with a later statement.
//! No foreign key and no trigger couples tables by other ways.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, PgConnection, Postgres, Type};

use crate::driver::unnest_text;

/// Writes that wait, in as many statements as depend on each other.
#[derive(Debug, Default)]
pub(crate) struct Bundle(Vec<Statement>);

impl Bundle {
    /// Adds a write, and gives the statement that its values belong to: the first one in which it sees and
    /// leaves what it would have if it had run last.
    fn push(&mut self, text: &'static str, columns: &[&str]) -> &mut Statement {
        let sees_changes = |it: &Statement| it.changes.iter().any(|table| mentions(text, table));
        let behind = self.0.iter().rposition(sees_changes).map(|at| at + 1);
        let changes = target(text);
        let is_seen = |it: &Statement| changes.is_some_and(|table| it.reads(table));
        let beside = self.0.iter().rposition(is_seen);
        let at = behind.max(beside).unwrap_or(0);
        if at == self.0.len() {
            self.0.push(Statement::default());
        }
        let statement = &mut self.0[at];
        statement.push(text, columns);
        statement
    }

    /// Runs what waits; returns how many rows a write that was alone has written.
    ///
    /// # Errors
    /// The first one of a write.
    pub(crate) async fn run(&mut self, conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let mut written = 0;
        for statement in std::mem::take(&mut self.0) {
            written = statement.run(conn).await?;
        }
        Ok(written)
    }
}

/// Writes that do not see each other, and the values of their parameters, in order.
#[derive(Debug, Default)]
struct Statement {
    texts: Vec<&'static str>,
    parts: Vec<String>,
    /// The tables that these change.
    changes: Vec<&'static str>,
    columns: usize,
    arguments: PgArguments,
    failed: Option<sqlx::Error>,
}

impl Statement {
    fn push(&mut self, text: &'static str, columns: &[&str]) {
        self.texts.push(text);
        self.changes.extend(target(text));
        self.parts.push(unnest_text(text, columns, self.columns));
        self.columns += columns.len();
    }

    fn reads(&self, table: &str) -> bool {
        self.texts.iter().any(|text| mentions(text, table))
    }

    fn text(&mut self) -> String {
        if self.parts.len() == 1 {
            return self.parts.swap_remove(0);
        }
        let parts = self.parts.iter().enumerate();
        let parts: Vec<String> = parts.map(|(n, it)| format!("w{n} AS ({it})")).collect();
        format!("WITH {} SELECT 1", parts.join(","))
    }

    async fn run(mut self, conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let query = sqlx::query_with(AssertSqlSafe(self.text()), self.arguments);
        Ok(query.execute(conn).await?.rows_affected())
    }
}

fn mentions(text: &str, table: &str) -> bool {
    words(text).any(|word| word == table)
}

/// The names and words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// The table that a write changes.
fn target(text: &'static str) -> Option<&'static str> {
    let verbs = ["INSERT INTO ", "DELETE FROM ", "UPDATE "];
    let begun = verbs.iter().find_map(|verb| text.split_once(verb));
    begun.and_then(|(_, rest)| words(rest).next())
}

/// A borrowed connection to PostgreSQL.
#[derive(Debug)]
pub struct Gres<'c> {
    conn: &'c mut PgConnection,
    /// Where writes wait.
    bundle: Option<&'c mut Bundle>,
    /// A write that does not.
    now: Bundle,
    /// Where it is noted that an answer is owed, if nobody waits for one for ever.
    asked: Option<&'c mut bool>,
}

/// How long a server may take over a statement of a request. One that takes longer has gone silent: its
/// machine lost its power, or a firewall forgot the connection, and nothing says so to whoever waits.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// Waits for an answer, and no longer than that where there is a bound.
///
/// # Errors
/// When it is an error, or does not come in time.
pub async fn in_time<T>(
    patience: Option<Duration>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(patience) = patience else {
        return answer.await;
    };
    let answer = tokio::time::timeout(patience, answer).await;
    answer.unwrap_or_else(|_silent| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

impl<'c> Gres<'c> {
    /// A connection on which writes wait in a bundle, where there is one.
    pub(crate) fn new(conn: &'c mut PgConnection, bundle: Option<&'c mut Bundle>) -> Self {
        Self {
            conn,
            bundle,
            now: Bundle::default(),
            asked: None,
        }
    }

    /// The same, whose statements have to be answered in time, and note here that they wait for that.
    pub(crate) fn owes(self, asked: &'c mut bool) -> Self {
        Self {
            asked: Some(asked),
            ..self
        }
    }

    /// The same connection for one more statement.
    pub(crate) fn again(&mut self) -> Gres<'_> {
        Gres {
            conn: self.conn,
            bundle: self.bundle.as_deref_mut(),
            now: Bundle::default(),
            asked: self.asked.as_deref_mut(),
        }
    }

    /// How long to wait for an answer from now on.
    #[doc(hidden)]
    pub fn patience(&mut self) -> Option<Duration> {
        let asked = self.asked.as_deref_mut()?;
        *asked = true;
        Some(ANSWER)
    }

    /// Notes that an answer has come, which an error about the connection is not.
    #[doc(hidden)]
    pub fn answered<T>(&mut self, answer: &Result<T, sqlx::Error>) {
        if let Some(asked) = self.asked.as_deref_mut() {
            *asked = matches!(answer, Err(sqlx::Error::Io(_)));
        }
    }

    /// The connection, once what waits has run.
    ///
    /// # Errors
    /// When that fails.
    pub async fn settled(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if let Some(bundle) = &mut self.bundle {
            bundle.run(self.conn).await?;
        }
        Ok(self.conn)
    }

    /// A write of rows with these types of columns, whose values are bound next, an array each.
    pub fn write(&mut self, text: &'static str, columns: &[&str]) -> Write<'_> {
        let bundle = match &mut self.bundle {
            Some(bundle) => bundle,
            None => &mut self.now,
        };
        Write(bundle.push(text, columns))
    }

    /// Ends a write: it runs, or waits. Returns how many rows were written by now.
    ///
    /// # Errors
    /// When it ran and failed.
    pub async fn written(&mut self) -> Result<u64, sqlx::Error> {
        self.now.run(self.conn).await
    }
}

/// A write whose values are to be bound.
#[derive(Debug)]
pub struct Write<'s>(&'s mut Statement);

impl Write<'_> {
    /// Binds the values of the next column.
    pub fn bind<'v>(&mut self, values: impl Encode<'v, Postgres> + Type<Postgres>) {
        if let Err(error) = self.0.arguments.add(values) {
            self.0.failed.get_or_insert(sqlx::Error::Encode(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bundle, target};

    #[test]
    fn the_table_that_a_write_changes_is_found() {
        let upsert =
            "INSERT INTO threads (root_id) {rows} ON CONFLICT (root_id) DO UPDATE SET x = 1";
        assert_eq!(target(upsert), Some("threads"));
        let delete =
            "WITH k(nid) AS ({rows})\n DELETE FROM outbox WHERE nid IN (SELECT nid FROM k)";
        assert_eq!(target(delete), Some("outbox"));
        let update = "WITH k(nid) AS ({rows}) UPDATE rooms SET x = k.nid FROM k";
        assert_eq!(target(update), Some("rooms"));
        assert_eq!(target("SELECT 1"), None);
    }

    #[test]
    fn writes_become_parts_of_one_statement_with_parameters_of_their_own() {
        let mut bundle = Bundle::default();
        bundle.push("INSERT INTO a (x, y) {rows}", &["BIGINT", "TEXT"]);
        bundle.push("INSERT INTO b (z) {rows}", &["BYTEA"]);
        assert_eq!(
            texts(bundle),
            [
                "WITH w0 AS (INSERT INTO a (x, y) SELECT * FROM unnest($1::BIGINT[],$2::TEXT[])),\
                 w1 AS (INSERT INTO b (z) SELECT * FROM unnest($3::BYTEA[])) SELECT 1"
            ]
        );
    }

    #[test]
    fn each_write_sees_what_it_would_one_by_one() {
        let table = [
            // What sees or changes a table that another one changed comes behind that.
            ("INSERT INTO events (x) {rows}", 0),
            ("WITH k(x) AS ({rows}) UPDATE events SET x = k.x FROM k", 1),
            ("DELETE FROM gaps WHERE x IN (SELECT e.x FROM events e)", 2),
            // Nothing of the others, though its name contains one.
            ("INSERT INTO staged_events (event_id) {rows}", 0),
            // What changes a table that another one sees comes no earlier than that.
            ("INSERT INTO rooms SELECT x FROM events, people", 2),
            ("DELETE FROM people WHERE x IN ({rows})", 2),
            ("INSERT INTO people (x) {rows}", 3),
        ];
        let mut bundle = Bundle::default();
        for (text, at) in table {
            bundle.push(text, &["BIGINT"]);
            let found = bundle.0.iter().position(|it| it.texts.contains(&text));
            assert_eq!(found, Some(at), "{text}");
        }
        assert_eq!(texts(bundle).len(), 4);
    }

    fn texts(bundle: Bundle) -> Vec<String> {
        bundle.0.into_iter().map(|mut it| it.text()).collect()
    }
}
