//! The table of routes against the endpoints of the specification.
//!
//! `tests/routes/endpoints.csv` is the specification's list; `not_yet_served.txt` beside it names
//! what is missing, and only shrinks; `beyond_the_specification.txt` names what is served besides.

use std::collections::{BTreeMap, BTreeSet};

use hearth::routes;

const ENDPOINTS: &str = include_str!("../../../../../tests/routes/endpoints.csv");
const NOT_YET_SERVED: &str = include_str!("../../../../../tests/routes/not_yet_served.txt");
const BEYOND: &str = include_str!("../../../../../tests/routes/beyond_the_specification.txt");

/// A method and a path whose variables have lost their names.
type Place = String;

fn place(method: &str, path: &str) -> Place {
    let segments = path
        .split('/')
        .map(|segment| match segment.starts_with('{') {
            true => "{}",
            false => segment,
        });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

/// An endpoint as the specification writes it.
#[derive(Default)]
struct Endpoint {
    /// Its method and path.
    line: String,
    /// What can be done there: mostly one operation.
    operations: BTreeSet<&'static str>,
}

/// The endpoints that a homeserver answers.
fn specified() -> BTreeMap<Place, Endpoint> {
    let mut endpoints: BTreeMap<Place, Endpoint> = BTreeMap::new();
    for line in ENDPOINTS.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if matches!(fields[0], "client-server" | "server-server") {
            let (method, path) = (fields[1], fields[2]);
            let endpoint = endpoints.entry(place(method, path)).or_default();
            endpoint.line = format!("{method} {path}");
            endpoint.operations.insert(fields[3]);
        }
    }
    endpoints
}

fn served() -> BTreeSet<Place> {
    let rows = routes::table();
    let places = rows.iter().flat_map(|row| {
        row.paths
            .iter()
            .map(|path| place(row.method.as_str(), path))
    });
    places.collect()
}

/// The lines of a list that are no comments: method, path, and what follows.
fn listed(list: &str) -> Vec<(Place, &str)> {
    let lines = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            (place(method, path), line)
        })
        .collect()
}

/// The path with another version: where an endpoint stood in other releases of the specification.
fn other_versions(place: &str) -> impl Iterator<Item = Place> + '_ {
    const VERSIONS: [&str; 6] = ["r0", "v1", "v2", "v3", "r0.1", "unstable"];
    let parts: Vec<&str> = place.split('/').collect();
    VERSIONS.into_iter().map(move |version| {
        let mut parts = parts.clone();
        if let Some(part) = parts.get_mut(3) {
            *part = version;
        }
        parts.join("/")
    })
}

#[test]
fn every_endpoint_of_the_specification_is_served_or_named_as_not_yet_served() {
    let (specified, served) = (specified(), served());
    // A line with an operation is about one of several at a path, of which others are served.
    let of_path = |(_, line): &(Place, &str)| line.split(' ').count() < 3;
    let (listed, operations): (Vec<_>, Vec<_>) =
        listed(NOT_YET_SERVED).into_iter().partition(of_path);
    let names: BTreeSet<&Place> = listed.iter().map(|(place, _)| place).collect();
    let mut wrong = Vec::new();
    for (place, endpoint) in &specified {
        if !served.contains(place) && !names.contains(place) {
            wrong.push(format!(
                "{}: the table of routes lacks it; serve it (a row in `rows()`). The list \
                 `tests/routes/not_yet_served.txt` takes no new lines",
                endpoint.line
            ));
        }
    }
    let mut before = "";
    for (place, line) in &listed {
        if served.contains(place) {
            wrong.push(format!(
                "{line}: it is served now; remove its line from `tests/routes/not_yet_served.txt`"
            ));
        } else if specified
            .get(place)
            .is_none_or(|endpoint| endpoint.line != *line)
        {
            wrong.push(format!(
                "{line}: `tests/routes/endpoints.csv` has no such endpoint; remove the line from \
                 `tests/routes/not_yet_served.txt`"
            ));
        }
        if before >= *line {
            wrong.push(format!(
                "{line}: keep `tests/routes/not_yet_served.txt` sorted and without doubles"
            ));
        }
        before = line;
    }
    for (place, line) in &operations {
        let operation = line.split(' ').nth(2).unwrap_or_default();
        let known = specified.get(place).filter(|endpoint| {
            endpoint.operations.len() > 1 && endpoint.operations.contains(operation)
        });
        if known.is_none() || !served.contains(place) {
            wrong.push(format!(
                "{line}: it is no operation beside another one that is served"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_path_is_the_specifications_or_named_with_its_reason() {
    let (specified, served) = (specified(), served());
    let beyond: BTreeMap<Place, &str> = listed(BEYOND).into_iter().collect();
    let mut wrong = Vec::new();
    for place in &served {
        let known = specified.contains_key(place)
            || other_versions(place).any(|other| specified.contains_key(&other));
        let is_listed = beyond.contains_key(place);
        if !known && !is_listed {
            wrong.push(format!(
                "{place}: the specification has no such path; name it in \
                 `tests/routes/beyond_the_specification.txt` with its proposal or reason"
            ));
        }
        if known && is_listed {
            wrong.push(format!(
                "{place}: it is the specification's; remove its line from \
                 `tests/routes/beyond_the_specification.txt`"
            ));
        }
    }
    for (place, line) in &beyond {
        if !served.contains(place) {
            wrong.push(format!(
                "{line}: it is not served; remove the line from \
                 `tests/routes/beyond_the_specification.txt`"
            ));
        }
        if line.splitn(3, ' ').nth(2).is_none_or(str::is_empty) {
            wrong.push(format!("{line}: say which proposal or what reason it has"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
