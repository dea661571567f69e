//! From method and path to a row.

use std::{borrow::Cow, sync::Arc};

use http::Method;
use percent_encoding::percent_decode_str;

use super::row::{Resource, Row};

/// The rows of one listener, findable by path.
#[derive(Debug)]
pub struct Router {
    rows: Arc<[Row]>,
    /// Each path with the indices of its rows, one per method.
    tree: matchit::Router<Vec<usize>>,
}

/// What a method and a path lead to.
#[derive(Debug)]
pub enum Found<'r> {
    /// A row, with the decoded variables of the path.
    Row(&'r Row, Vec<String>),
    /// The path exists under these methods only.
    WrongMethod(Vec<&'r Method>),
    /// A variable of the path is not UTF-8 once decoded, or holds a zero, which no id or name of
    /// ours does and which databases do not take.
    NotText,
    /// No such path.
    Unknown,
}

/// Why a table cannot be routed: a mistake in the table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Two rows claim the same method and path.
    #[error("two routes claim {method} {path}")]
    Twice {
        /// The method of both.
        method: Method,
        /// The path of both.
        path: String,
    },
    /// A pattern cannot stand beside the others.
    #[error("the route {path} cannot be added: {reason}")]
    Pattern {
        /// The pattern.
        path: String,
        /// What the tree says.
        reason: matchit::InsertError,
    },
}

impl Router {
    /// Routes the rows that a listener serves.
    ///
    /// # Errors
    /// Two rows with the same method and path, or a pattern that cannot be routed.
    pub fn new(rows: Arc<[Row]>, served: &[Resource]) -> Result<Self, TableError> {
        let mut by_pattern: std::collections::BTreeMap<String, Vec<usize>> = Default::default();
        for (index, row) in rows.iter().enumerate() {
            if row.resource != Resource::Health && !served.contains(&row.resource) {
                continue;
            }
            for path in &row.paths {
                let methods = by_pattern.entry(pattern(path)).or_default();
                if methods
                    .iter()
                    .any(|other| rows[*other].method == row.method)
                {
                    let (method, path) = (row.method.clone(), path.to_string());
                    return Err(TableError::Twice { method, path });
                }
                methods.push(index);
            }
        }
        let mut tree = matchit::Router::new();
        for (path, methods) in by_pattern {
            tree.insert(path.clone(), methods)
                .map_err(|reason| TableError::Pattern { path, reason })?;
        }
        Ok(Self { rows, tree })
    }

    /// Finds the row for a request.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Ok(matched) = self.tree.at(path) else {
            return Found::Unknown;
        };
        let wanted = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let rows = matched
            .value
            .iter()
            .filter_map(|index| self.rows.get(*index));
        let Some(row) = rows.clone().find(|row| row.method == wanted) else {
            return Found::WrongMethod(rows.map(|row| &row.method).collect());
        };
        match matched
            .params
            .iter()
            .map(|(_, value)| text(value))
            .collect()
        {
            Some(path_args) => Found::Row(row, path_args),
            None => Found::NotText,
        }
    }
}

/// A variable of the path, decoded.
fn text(value: &str) -> Option<String> {
    let text = percent_decode_str(value).decode_utf8().ok()?;
    (!text.contains('\0')).then(|| text.into_owned())
}

/// The pattern with its variables numbered: rows that share a path may name them differently.
fn pattern(path: &str) -> String {
    let mut count = 0;
    let segments = path
        .split('/')
        .map(|segment| match segment.strip_prefix('{') {
            None => Cow::Borrowed(segment),
            Some(name) => {
                count += 1;
                let star = if name.starts_with('*') { "*" } else { "" };
                Cow::Owned(format!("{{{star}v{count}}}"))
            }
        });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use hearth_types::ruma::api::auth_scheme::NoAuthentication;

    use super::*;
    use crate::{
        http::{auth::Anyone, error::RouteError},
        routes::{Call, RateClass, raw},
    };

    fn row(method: Method, path: &'static str) -> Row {
        raw::<NoAuthentication, _, _>(
            method,
            path,
            path,
            RateClass::Read,
            |_: Anyone, _: Call| async { Err(RouteError::fault("only its place matters")) },
        )
    }

    fn router(rows: Vec<Row>) -> Result<Router, TableError> {
        Router::new(rows.into(), Resource::ALL)
    }

    fn shared() -> Router {
        router(vec![
            row(Method::GET, "/_matrix/client/v3/rooms/{room_id}/state"),
            row(
                Method::GET,
                "/_matrix/client/v3/rooms/{id}/state/{event_type}/{state_key}",
            ),
            row(
                Method::PUT,
                "/_matrix/client/v3/rooms/{room}/state/{type}/{state_key}",
            ),
            row(
                Method::GET,
                "/_matrix/client/v3/rooms/{id}/state/{event_type}/",
            ),
        ])
        .unwrap()
    }

    #[test]
    fn path_variables_are_decoded_after_the_path_was_split() {
        let router = shared();
        let path = "/_matrix/client/v3/rooms/%21a%2Fb%3Aone.test/state/m.x/%20%C3%A9";
        let Found::Row(_, args) = router.find(&Method::GET, path) else {
            panic!("not found")
        };
        assert_eq!(args, ["!a/b:one.test", "m.x", " é"]);
        for wrong in ["%FF", "a%00"] {
            let path = format!("/_matrix/client/v3/rooms/{wrong}/state");
            assert!(matches!(router.find(&Method::GET, &path), Found::NotText));
        }
    }

    #[test]
    fn an_empty_last_variable_has_a_path_of_its_own() {
        let router = shared();
        let path = "/_matrix/client/v3/rooms/!a/state/m.x/";
        let Found::Row(_, args) = router.find(&Method::GET, path) else {
            panic!("not found")
        };
        assert_eq!(args, ["!a", "m.x"]);
    }

    #[test]
    fn a_known_path_under_another_method_names_the_methods_it_has() {
        let router = shared();
        let path = "/_matrix/client/v3/rooms/!a/state/m.x/k";
        let Found::WrongMethod(methods) = router.find(&Method::DELETE, path) else {
            panic!()
        };
        assert_eq!(methods, [Method::GET, Method::PUT]);
        assert!(matches!(router.find(&Method::HEAD, path), Found::Row(..)));
        assert!(matches!(
            router.find(&Method::GET, "/_matrix/client/v3/nope"),
            Found::Unknown
        ));
    }

    #[test]
    fn two_rows_with_one_method_and_path_are_an_error() {
        let twice = vec![row(Method::GET, "/a/{x}"), row(Method::GET, "/a/{y}")];
        assert!(matches!(router(twice), Err(TableError::Twice { .. })));
    }

    #[test]
    fn a_listener_routes_only_the_resources_it_serves() {
        let rows = vec![
            row(Method::GET, "/_matrix/key/v2/server"),
            row(Method::GET, "/health/live"),
        ];
        let router = Router::new(rows.into(), &[Resource::Client]).unwrap();
        assert!(matches!(
            router.find(&Method::GET, "/_matrix/key/v2/server"),
            Found::Unknown
        ));
        assert!(matches!(
            router.find(&Method::GET, "/health/live"),
            Found::Row(..)
        ));
    }
}
