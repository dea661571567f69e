//! The table of all routes: what exists, who may call it, how often, and how much it may send.
//!
//! A row is data. Everything that must hold for every route (limits, authentication, errors,
//! cross-origin headers) is done by `http::dispatch` from the row; a handler only does its work.

mod router;
mod row;

pub use router::{Found, Router, TableError};
pub use row::{Call, Handler, RateClass, Resource, Row, prebuilt, raw, raw_of, route};

/// Every route of this server.
#[must_use]
pub fn table() -> Vec<Row> {
    let groups = [
        crate::client::rows(),
        crate::server::rows(),
        crate::admin::rows(),
        crate::health::rows(),
        crate::metrics::rows(),
    ];
    groups.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_of_the_table_can_be_routed_to_and_none_twice() {
        let rows = table();
        let mut seen = BTreeSet::new();
        for row in &rows {
            assert!(!row.paths.is_empty(), "{} has no path", row.name);
            for path in &row.paths {
                assert!(path.starts_with('/'), "{path}");
                assert!(
                    seen.insert((row.method.to_string(), path.clone())),
                    "{path} stands twice"
                );
            }
        }
        Router::new(rows.into(), Resource::ALL).expect("the table has no conflicts");
    }

    #[test]
    fn metrics_tell_all_rows_apart() {
        let mut seen = BTreeSet::new();
        for row in table() {
            assert!(
                seen.insert((row.resource, row.name, row.method.to_string())),
                "two rows of {:?} are `{}`: give one of them another name with `.named(…)`",
                row.resource,
                row.name
            );
        }
    }

    #[test]
    fn the_resource_of_a_row_is_that_of_all_its_paths() {
        for row in table() {
            for path in &row.paths {
                assert_eq!(Resource::of(path), row.resource, "{path}");
            }
        }
    }
}
