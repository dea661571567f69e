//! The enum of the two concrete sqlx drivers, and the two macros through which every SQL text runs.
//!
//! A text is written once and is valid on both engines. `sql!` and `rows!` expand the call once per
//! driver inside a `match`, so that storage functions are not generic and rows need no bounds.

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use crate::bundle::Gres;
use crate::error::StorageError;
use crate::script::Lite;

/// One of the two engines: what `S` is on SQLite is `P` on PostgreSQL.
#[derive(Debug, Clone)]
pub enum Engine<S, P> {
    /// The embedded default.
    Sqlite(S),
    /// For many users or many nodes.
    Postgres(P),
}

/// The read pool.
pub type Pool = Engine<SqlitePool, PgPool>;

/// A borrowed connection: what every storage function takes.
pub type Conn<'c> = Engine<Lite<'c>, Gres<'c>>;

impl Conn<'_> {
    /// Hands the same connection out for one more statement.
    pub fn again(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Engine::Sqlite(conn.again()),
            Self::Postgres(conn) => Engine::Postgres(conn.again()),
        }
    }
}

/// A pooled connection for reading.
#[derive(Debug)]
pub struct Reader {
    conn: Engine<PoolConnection<Sqlite>, PoolConnection<Postgres>>,
    /// Whether PostgreSQL owes the answer to a statement.
    asked: bool,
}

impl Reader {
    /// Takes a connection from the pool, waiting for one if all are in use.
    ///
    /// # Errors
    /// When the pool gives none in time or the database is gone.
    pub async fn acquire(pool: &Pool) -> Result<Self, StorageError> {
        let conn = match pool {
            Engine::Sqlite(pool) => Engine::Sqlite(pool.acquire().await?),
            Engine::Postgres(pool) => Engine::Postgres(pool.acquire().await?),
        };
        Ok(Self { conn, asked: false })
    }

    /// The connection, for one statement.
    pub fn conn(&mut self) -> Conn<'_> {
        match &mut self.conn {
            Engine::Sqlite(conn) => Engine::Sqlite(Lite::new(conn, None)),
            Engine::Postgres(conn) => Engine::Postgres(Gres::new(conn, None).owes(&mut self.asked)),
        }
    }
}

/// A connection that owes an answer goes back to nobody: the pool would wait for that answer, and from a
/// server that went silent it never comes.
impl Drop for Reader {
    fn drop(&mut self) {
        if self.asked
            && let Engine::Postgres(conn) = &mut self.conn
        {
            conn.close_on_drop();
        }
    }
}

/// The text of a bulk statement for one engine: `{rows}` becomes the engine's list of rows.
///
/// SQLite gets `VALUES (?,?),…` (nameless: a `$n` list is quadratic to prepare there), and for one
/// column of numbers or texts a JSON array, which is one text whatever its length; PostgreSQL one
/// array per column through `unnest`.
#[must_use]
pub fn bulk_text(text: &str, columns: &[&str], rows: Option<usize>) -> String {
    match (rows, columns) {
        (Some(_), ["BIGINT" | "TEXT"]) => sqlite_text(text, SQLITE_LIST),
        (Some(rows), _) => sqlite_text(text, &sqlite_values(columns.len(), rows)),
        (None, _) => unnest_text(text, columns, 0),
    }
}

/// The text of a bulk statement for PostgreSQL, behind so many parameters of others.
pub(crate) fn unnest_text(text: &str, columns: &[&str], before: usize) -> String {
    let arrays: Vec<String> = (before + 1..)
        .zip(columns)
        .map(|(n, kind)| format!("${n}::{kind}[]"))
        .collect();
    let list = format!("SELECT * FROM unnest({})", arrays.join(","));
    text.replacen("{rows}", &list, 1)
}

/// SQLite copies each page that an insertion of several rows is about to change, to be able to undo that
/// statement alone. Nobody needs that: whoever writes undoes the whole transaction, or back to its
/// savepoint. (SQLite, "The ON CONFLICT Clause"; an upsert that updates is undone by itself all the same.)
fn sqlite_text(text: &str, list: &str) -> String {
    text.replacen("{rows}", list, 1)
        .replacen("INSERT INTO", "INSERT OR FAIL INTO", 1)
}

/// The condition lets an `ON CONFLICT` follow: SQLite reads it as part of a join otherwise.
const SQLITE_LIST: &str = "SELECT value FROM json_each(?) WHERE true";

/// A column's values as SQLite is given them where the column is alone.
pub fn sqlite_list<T: Clone + Into<serde_json::Value>>(values: &[T]) -> String {
    serde_json::Value::from(values).to_string()
}

fn sqlite_values(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("VALUES {}", vec![row.as_str(); rows].join(","))
}

/// Rows per statement on SQLite: the measured best between fewer round trips and longer texts.
pub const SQLITE_CHUNK: usize = 32;

/// Runs one SQL text on whichever engine the connection is.
///
/// `sql!(conn, VERB, "text with $1", bind, …)`, where `VERB` is `execute` (rows affected),
/// `one::<Row>`, `optional::<Row>`, `all::<Row>`, or `scalar::<T>` / `scalars::<T>` for the first
/// column (optional / all).
#[macro_export]
macro_rules! sql {
    ($conn:expr, execute, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query::<Driver>($text)$(.bind($bind))*
                .execute(&mut *c).await.map(|done| done.rows_affected())
        })
    };
    ($conn:expr, one::<$row:ty>, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query_as::<Driver, $row>($text)$(.bind($bind))*.fetch_one(&mut *c).await
        })
    };
    ($conn:expr, optional::<$row:ty>, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query_as::<Driver, $row>($text)$(.bind($bind))*.fetch_optional(&mut *c).await
        })
    };
    ($conn:expr, all::<$row:ty>, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query_as::<Driver, $row>($text)$(.bind($bind))*.fetch_all(&mut *c).await
        })
    };
    ($conn:expr, scalar::<$t:ty>, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query_scalar::<Driver, $t>($text)$(.bind($bind))*.fetch_optional(&mut *c).await
        })
    };
    ($conn:expr, scalars::<$t:ty>, $text:literal $(, $bind:expr)* $(,)?) => {
        $crate::on_driver!($conn, Driver, c => {
            sqlx::query_scalar::<Driver, $t>($text)$(.bind($bind))*.fetch_all(&mut *c).await
        })
    };
}

/// Runs one SQL text with a list of rows in it: the bulk primitive.
///
/// `rows!(conn, VERB, "… {rows} …", items, |item| (expr => TYPE, …))`, where `items` is a slice,
/// `TYPE` is the PostgreSQL type of the column, and `VERB` is `execute` (rows affected) or
/// `all::<Row>`. No rows, no statement. With one column and `all`, `with(bind, …)` may follow: these are
/// `$2`, `$3`, … in the text.
#[macro_export]
macro_rules! rows {
    ($conn:expr, execute, $text:literal, $items:expr, |$item:ident| ($value:expr => BIGINT $(,)?)) => {
        $crate::list!($conn, execute, $text, $items, |$item| ($value => BIGINT))
    };
    ($conn:expr, execute, $text:literal, $items:expr, |$item:ident| ($value:expr => TEXT $(,)?)) => {
        $crate::list!($conn, execute, $text, $items, |$item| ($value => TEXT))
    };
    ($conn:expr, all::<$row:ty>, $text:literal, $items:expr, |$item:ident| ($value:expr => BIGINT $(,)?)) => {
        $crate::list!($conn, all::<$row>, $text, $items, |$item| ($value => BIGINT))
    };
    ($conn:expr, all::<$row:ty>, $text:literal, $items:expr, |$item:ident| ($value:expr => TEXT $(,)?)) => {
        $crate::list!($conn, all::<$row>, $text, $items, |$item| ($value => TEXT))
    };
    ($conn:expr, all::<$row:ty>, $text:literal, $items:expr, |$item:ident| ($value:expr => $kind:ident),
        with($($bind:expr),+ $(,)?) $(,)?) => {
        $crate::list!($conn, all::<$row>, $text, $items, |$item| ($value => $kind), with($($bind),+))
    };
    ($conn:expr, execute, $text:literal, $items:expr, |$item:ident| ($($value:expr => $kind:ident),+ $(,)?)) => {
        match $conn {
            $crate::driver::Engine::Sqlite(mut lite) => {
                let mut affected = 0;
                let mut failed = None;
                for chunk in $items.chunks($crate::driver::SQLITE_CHUNK) {
                    let text = $crate::driver::bulk_text($text, &[$(stringify!($kind)),+], Some(chunk.len()));
                    lite.write(&text);
                    for $item in chunk { $(lite.bind($value);)+ }
                    match lite.written().await {
                        Ok(done) => affected += done,
                        Err(error) => { failed = Some(error); break; }
                    }
                }
                failed.map_or(Ok(affected), Err)
            }
            $crate::driver::Engine::Postgres(mut gres) => {
                if $items.is_empty() { Ok(0) } else {
                    let mut write = gres.write($text, &[$(stringify!($kind)),+]);
                    $(write.bind($items.iter().map(|$item| { let _row = &$item; $value }).collect::<Vec<_>>());)+
                    gres.written().await
                }
            }
        }.map_err($crate::error::StorageError::from)
    };
    ($conn:expr, all::<$row:ty>, $text:literal, $items:expr, |$item:ident| ($($value:expr => $kind:ident),+ $(,)?)) => {
        match $conn {
            $crate::driver::Engine::Sqlite(mut lite) => {
                let mut found: Vec<$row> = Vec::new();
                let mut failed = None;
                for chunk in $items.chunks($crate::driver::SQLITE_CHUNK) {
                    let c = match lite.settled().await {
                        Ok(c) => c,
                        Err(error) => { failed = Some(error); break; }
                    };
                    let text = $crate::driver::bulk_text($text, &[$(stringify!($kind)),+], Some(chunk.len()));
                    let mut query = sqlx::query_as::<sqlx::Sqlite, $row>(sqlx::AssertSqlSafe(text));
                    for $item in chunk { query = query$(.bind($value))+; }
                    match query.fetch_all(&mut *c).await {
                        Ok(rows) => found.extend(rows),
                        Err(error) => { failed = Some(error); break; }
                    }
                }
                failed.map_or(Ok(found), Err)
            }
            $crate::driver::Engine::Postgres(mut gres) => {
                if $items.is_empty() { Ok(Vec::new()) } else {
                    $crate::on_gres!(gres, c => {
                        let text = $crate::driver::bulk_text($text, &[$(stringify!($kind)),+], None);
                        sqlx::query_as::<sqlx::Postgres, $row>(sqlx::AssertSqlSafe(text))
                            $(.bind($items.iter().map(|$item| { let _row = &$item; $value }).collect::<Vec<_>>()))+
                            .fetch_all(&mut *c).await
                    })
                }
            }
        }.map_err($crate::error::StorageError::from)
    };
}

/// [`rows!`] of one column: a statement, and a text, for any number of rows.
#[doc(hidden)]
#[macro_export]
macro_rules! list {
    ($conn:expr, execute, $text:literal, $items:expr, |$item:ident| ($value:expr => $kind:ident)) => {
        $crate::list!(@each $conn, $text, $items, |$item| ($value => $kind), 0,
            lite, text, list => {
                lite.write(&text);
                lite.bind(list);
                lite.written().await
            },
            gres, values => {
                gres.write($text, &[stringify!($kind)]).bind(values);
                gres.written().await
            })
    };
    ($conn:expr, all::<$row:ty>, $text:literal, $items:expr, |$item:ident| ($value:expr => $kind:ident)
        $(, with($($bind:expr),+))?) => {
        $crate::list!(@each $conn, $text, $items, |$item| ($value => $kind), Vec::<$row>::new(),
            lite, text, list => match lite.settled().await {
                Ok(c) => {
                    sqlx::query_as::<sqlx::Sqlite, $row>(sqlx::AssertSqlSafe(text))
                        .bind(list)$($(.bind($bind))+)?.fetch_all(&mut *c).await
                }
                Err(error) => Err(error),
            },
            gres, values => $crate::on_gres!(gres, c => {
                let text = $crate::driver::bulk_text($text, &[stringify!($kind)], None);
                sqlx::query_as::<sqlx::Postgres, $row>(sqlx::AssertSqlSafe(text))
                    .bind(values)$($(.bind($bind))+)?.fetch_all(&mut *c).await
            }))
    };
    (@each $conn:expr, $text:literal, $items:expr, |$item:ident| ($value:expr => $kind:ident),
        $none:expr, $lite:ident, $stated:ident, $list:ident => $on_sqlite:expr,
        $gres:ident, $values:ident => $on_postgres:expr) => {
        if $items.is_empty() { Ok($none) } else {
            let $values = $items.iter().map(|$item| $value).collect::<Vec<_>>();
            match $conn {
                $crate::driver::Engine::Sqlite(mut $lite) => {
                    let $stated = $crate::driver::bulk_text($text, &[stringify!($kind)], Some($values.len()));
                    let $list = $crate::driver::sqlite_list(&$values);
                    $on_sqlite
                }
                $crate::driver::Engine::Postgres(mut $gres) => $on_postgres,
            }.map_err($crate::error::StorageError::from)
        }
    };
}

/// Expands a body once per driver; `$driver` names the sqlx driver inside it.
#[doc(hidden)]
#[macro_export]
macro_rules! on_driver {
    ($conn:expr, $driver:ident, $c:ident => $body:block) => {
        match $conn {
            $crate::driver::Engine::Sqlite(mut lite) => match lite.settled().await {
                Ok($c) => {
                    type $driver = sqlx::Sqlite;
                    $body
                }
                Err(error) => Err(error),
            },
            $crate::driver::Engine::Postgres(mut gres) => $crate::on_gres!(gres, $c => {
                type $driver = sqlx::Postgres;
                $body
            }),
        }
        .map_err($crate::error::StorageError::from)
    };
}

/// Expands a body for PostgreSQL, and waits for the answer no longer than the connection does.
#[doc(hidden)]
#[macro_export]
macro_rules! on_gres {
    ($gres:ident, $c:ident => $body:block) => {{
        let patience = $gres.patience();
        let answer = match $gres.settled().await {
            Ok($c) => $crate::bundle::in_time(patience, async { $body }).await,
            Err(error) => Err(error),
        };
        $gres.answered(&answer);
        answer
    }};
}
