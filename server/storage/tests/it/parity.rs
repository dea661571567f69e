//! Both engines know the same schema, and every SQL text of this crate is prepared on both.

use std::path::Path;

use hearth_storage::driver::bulk_text;
use hearth_storage::testing::{On, Scratch};

/// A SQL text as it stands in a source file, with the column types of its `{rows}`.
#[derive(Debug)]
struct Text {
    place: String,
    sql: String,
    columns: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_is_prepared_on_both_engines() {
    let texts = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tables"));
    assert!(
        texts.len() > 10,
        "the scan found only {} texts",
        texts.len()
    );
    let mut refused = Vec::new();
    for on in [On::Sqlite, On::Postgres] {
        let scratch = Scratch::new(on).await;
        let _migrated = scratch.open().await;
        for text in &texts {
            let columns: Vec<&str> = text.columns.iter().map(String::as_str).collect();
            let rows = (on == On::Sqlite).then_some(2);
            let sql = bulk_text(&text.sql, &columns, rows);
            if let Err(error) = scratch.prepare(sql).await {
                refused.push(format!("{on:?} {}: {error}", text.place));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_have_the_same_tables_and_columns() {
    let mut schemas = Vec::new();
    for on in [On::Sqlite, On::Postgres] {
        let scratch = Scratch::new(on).await;
        let _migrated = scratch.open().await;
        schemas.push(scratch.schema().await);
    }
    assert!(schemas[0].len() > 100, "{:?}", schemas[0]);
    assert_eq!(schemas[0], schemas[1]);
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../migrations")
            .join(engine);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// On PostgreSQL, writes that mention no table in common become one statement (`bundle.rs`), and a view
/// hides which tables it reads.
#[test]
fn no_write_reads_a_view() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
    let mut views = Vec::new();
    for entry in std::fs::read_dir(migrations).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let names = text.split("CREATE VIEW ").skip(1);
        views.extend(names.map(|it| it.split_whitespace().next().unwrap().to_owned()));
        assert!(!text.contains("REFERENCES") && !text.contains("TRIGGER"));
    }
    assert_eq!(views, ["stored_events"]);
    let texts = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tables"));
    let verbs = ["INSERT INTO", "DELETE FROM", "UPDATE"];
    let mut looked_at = 0;
    for Text { sql, place, .. } in &texts {
        let Some((_, rest)) = verbs.iter().find_map(|verb| sql.split_once(verb)) else {
            continue;
        };
        looked_at += 1;
        let reads = views.iter().any(|view| sql.contains(view.as_str()));
        assert!(!reads, "{place}: {sql}");
        // The name of the table that it changes is looked for right behind the verb.
        let name = rest.strip_prefix(' ').and_then(|rest| rest.chars().next());
        assert!(
            name.is_some_and(|it| it.is_ascii_lowercase()),
            "{place}: {sql}"
        );
    }
    assert!(looked_at > 50, "{looked_at} writes");
}

fn texts(folder: &Path) -> Vec<Text> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            found.extend(texts_of(&path, &source));
        }
    }
    found
}

/// The texts of one file: the first string literal of each `sql!(` or `rows!(`, and for `rows!`
/// the types after each `=>` up to the end of its closure.
fn texts_of(path: &Path, source: &str) -> Vec<Text> {
    let mut found = Vec::new();
    for name in ["sql!(", "rows!("] {
        for (at, _) in source.match_indices(name) {
            let call = &source[at..];
            let open = call.find('"').expect("a text");
            let close = open + 1 + call[open + 1..].find('"').expect("the text's end");
            let line = source[..at].lines().count() + 1;
            let columns = if name == "rows!(" {
                columns_of(&call[close..])
            } else {
                Vec::new()
            };
            found.push(Text {
                place: format!("{}:{line}", path.display()),
                sql: call[open + 1..close].to_owned(),
                columns,
            });
        }
    }
    found
}

fn columns_of(rest: &str) -> Vec<String> {
    let end = rest
        .find(")\n    )")
        .into_iter()
        .chain(rest.find(";\n"))
        .min()
        .unwrap_or(rest.len());
    rest[..end]
        .match_indices("=> ")
        .map(|(at, arrow)| {
            rest[at + arrow.len()..]
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect()
        })
        .collect()
}
