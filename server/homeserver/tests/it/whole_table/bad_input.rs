//! Every row × everything that can be wrong with a request: the specified `errcode` and status,
//! nothing changed in the database, and no secret in the log.
//!
//! The cases are made from the table, so a new row is covered on the day it lands.

use std::fmt;

use hearth::{
    http::{auth::AuthClass, body::BodyKind},
    routes::{self, Row},
};
use hearth_storage::{
    both_engines,
    testing::{On, Scratch},
};
use http::Method;
use serde_json::{Value, json};

use super::{
    place::{CANARY, Door, Place},
    samples::{
        ANYBODYS_ROOM, DOORS, FREE_FORM, IDS, OPEN, PIECEWISE, REFUSED, Sample, Segment, TYPED,
        WITHOUT_BODY, credentials, path_of, sample, with_query,
    },
};
use crate::{harness::Reply, people::PASSWORD};

both_engines! {
    async fn bad_input_is_refused_as_specified_changes_nothing_and_is_not_logged(scratch: Scratch) {
        let place = Place::over(scratch).await;
        let (mut wrong, mut count) = (Vec::new(), 0);
        let mut before = place.contents().await;
        place.logged();
        for row in routes::table() {
            let cases = cases(&row, &place);
            count += cases.len();
            for case in &cases {
                let reply = place.exchange(case.door, &case.bytes).await;
                if !case.wants.are_met_by(&reply) {
                    wrong.push(format!(
                        "{} {} (`{}`), {}: {} wanted, {} {}",
                        row.method, row.paths[0], row.name, case.what, case.wants, reply.status,
                        reply.body.chars().take(200).collect::<String>()
                    ));
                }
            }
            let after = place.contents().await;
            for (table, rows) in &after {
                if before.get(table) != Some(rows) {
                    wrong.push(format!("`{}`: bad input changed the table {table}", row.name));
                }
            }
            before = after;
            let logged = place.logged();
            let answered = logged
                .lines()
                .filter(|line| line.contains("answered a request") && line.contains(&place.request_ids));
            let lines = answered.count();
            if lines != cases.len() {
                wrong.push(format!("`{}`: {lines} of {} answers are logged", row.name, cases.len()));
            }
            for secret in [CANARY, PASSWORD, &place.alice.token, &place.mallory.token] {
                if let Some(line) = logged.lines().find(|line| line.contains(secret)) {
                    wrong.push(format!("`{}`: the log shows a secret: {line}", row.name));
                }
            }
        }
        assert!(count > 1_000, "the generator made {count} cases");
        assert!(
            wrong.is_empty(),
            "{} of {count}; samples and exceptions are in samples.rs:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

/// What is wrong with a bad request must be what was made wrong in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_requests_that_are_made_bad_are_good() {
    let place = Place::over(Scratch::new(On::Sqlite).await).await;
    let mut wrong = Vec::new();
    let ends = ["logout", "logout_all", "deactivate", "leave_room"];
    let rows = routes::table().into_iter();
    for row in rows.filter(|row| !ends.contains(&row.name)) {
        let mut maker = Maker::of(&row, &place);
        let (target, headers) = (maker.target(), maker.own_headers());
        let body = match row.method.is_safe() {
            true => Vec::new(),
            false => maker.good.body.to_string().into_bytes(),
        };
        maker.push("good", &target, &headers, &body, Wants::ANY_REFUSAL);
        for case in maker.cases {
            let reply = place.exchange(case.door, &case.bytes).await;
            let is_known = REFUSED.iter().any(|(name, _)| *name == row.name);
            if (reply.status == 400) != is_known {
                wrong.push(format!("{} `{}`: {}", row.method, row.name, reply.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A bad request and what it should be answered with.
struct Case {
    what: String,
    door: Door,
    bytes: Vec<u8>,
    wants: Wants,
}

/// The answers that are right.
#[derive(Clone, Copy)]
struct Wants(&'static [(u16, &'static str)]);

impl Wants {
    const ANY_REFUSAL: Self = Self(&[]);

    fn are_met_by(self, reply: &Reply) -> bool {
        let errcode = serde_json::from_str::<Value>(&reply.body)
            .ok()
            .and_then(|body| body["errcode"].as_str().map(str::to_owned))
            .unwrap_or_default();
        match self.0 {
            [] => (400..500).contains(&reply.status) && errcode.starts_with("M_"),
            wanted => wanted.contains(&(reply.status, errcode.as_str())),
        }
    }
}

impl fmt::Display for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => write!(f, "a refusal"),
            wanted => write!(f, "{wanted:?}"),
        }
    }
}

const NOT_JSON: Wants = Wants(&[(400, "M_NOT_JSON")]);
const BAD_JSON: Wants = Wants(&[(400, "M_BAD_JSON")]);
const WRONG_TYPE: Wants = Wants(&[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")]);
const TOO_DEEP: Wants = Wants(&[(400, "M_NOT_JSON"), (400, "M_BAD_JSON")]);
const INVALID_PARAM: Wants = Wants(&[(400, "M_INVALID_PARAM")]);
const NO_TOKEN: Wants = Wants(&[(401, "M_MISSING_TOKEN")]);
const WRONG_TOKEN: Wants = Wants(&[(401, "M_UNKNOWN_TOKEN")]);
const NOT_SIGNED: Wants = Wants(&[(401, "M_UNAUTHORIZED")]);
const TOO_LARGE: Wants = Wants(&[(413, "M_TOO_LARGE")]);
const MULTIPART: Wants = Wants(&[(415, "M_NOT_JSON")]);
const NO_ID: Wants = Wants(&[
    (400, "M_INVALID_PARAM"),
    (403, "M_FORBIDDEN"),
    (404, "M_NOT_FOUND"),
]);
const NOT_THEIRS: Wants = Wants(&[(403, "M_FORBIDDEN")]);
const NOT_THEIR_ROOM: Wants = Wants(&[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")]);

fn cases(row: &Row, place: &Place) -> Vec<Case> {
    let mut maker = Maker::of(row, place);
    maker.callers();
    maker.paths();
    maker.queries();
    maker.bodies();
    maker.framing();
    maker.somebody_elses(place);
    maker.cases
}

struct Maker<'r> {
    row: &'r Row,
    alice: &'r str,
    credentials: Option<String>,
    good: Sample,
    cases: Vec<Case>,
}

impl<'r> Maker<'r> {
    fn of(row: &'r Row, place: &'r Place) -> Self {
        Self {
            row,
            alice: &place.alice.token,
            credentials: credentials(row, &place.alice),
            good: sample(row, place, &place.alice),
            cases: Vec::new(),
        }
    }

    /// The path and query of the good request.
    fn target(&self) -> String {
        self.good.target()
    }

    fn is_json_read(&self) -> bool {
        let may_carry = match self.row.method {
            Method::GET | Method::HEAD => false,
            // Of these only some read a proof of who asks.
            Method::DELETE => self
                .good
                .body
                .as_object()
                .is_some_and(|body| !body.is_empty()),
            _ => true,
        };
        may_carry && self.row.body_kind == BodyKind::Json && !WITHOUT_BODY.contains(&self.row.name)
    }

    fn own_headers(&self) -> Vec<String> {
        self.credentials.iter().cloned().collect()
    }

    fn push(
        &mut self,
        what: impl Into<String>,
        target: &str,
        headers: &[String],
        body: &[u8],
        wants: Wants,
    ) {
        let length = format!("content-length: {}", body.len());
        let headers: Vec<String> = headers.iter().cloned().chain([length]).collect();
        self.push_framed(what, target, &headers, body, wants);
    }

    fn push_framed(
        &mut self,
        what: impl Into<String>,
        target: &str,
        headers: &[String],
        body: &[u8],
        wants: Wants,
    ) {
        let mut bytes = format!(
            "{} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n",
            self.row.method
        )
        .into_bytes();
        for header in headers {
            bytes.extend_from_slice(format!("{header}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        let door = match self.row.auth {
            AuthClass::Administrator => Door::AdminSocket,
            _ => Door::Network,
        };
        self.cases.push(Case {
            what: what.into(),
            door,
            bytes,
            wants,
        });
    }

    fn callers(&mut self) {
        let (target, body) = (self.target(), self.good.body.to_string().into_bytes());
        let bearer = [format!("authorization: Bearer {CANARY}")];
        let joint = if target.contains('?') { '&' } else { '?' };
        let by_query = format!("{target}{joint}access_token={CANARY}");
        match self.row.auth {
            AuthClass::AccessToken => {
                self.push("no token", &target, &[], &body, NO_TOKEN);
                self.push("a wrong token", &target, &bearer, &body, WRONG_TOKEN);
                self.push(
                    "a wrong token in the query",
                    &by_query,
                    &[],
                    &body,
                    WRONG_TOKEN,
                );
            }
            AuthClass::OptionalAccessToken => {
                self.push("a wrong token", &target, &bearer, &body, WRONG_TOKEN);
                self.push(
                    "a wrong token in the query",
                    &by_query,
                    &[],
                    &body,
                    WRONG_TOKEN,
                );
            }
            AuthClass::ServerSignature => {
                let other = ["authorization: X-Matrix origin=two.test".to_owned()];
                self.push("no signature", &target, &[], &body, NOT_SIGNED);
                self.push("a wrong signature", &target, &other, &body, NOT_SIGNED);
                self.push("a token", &target, &bearer, &body, NOT_SIGNED);
            }
            AuthClass::Administrator => {
                let nothing: [String; 0] = [];
                let alice = [format!("authorization: Bearer {}", self.alice)];
                for (what, headers, wants) in [
                    ("no token over the network", &nothing[..], NO_TOKEN),
                    ("a wrong token over the network", &bearer[..], WRONG_TOKEN),
                    ("a token of no administrator", &alice[..], NOT_THEIRS),
                ] {
                    self.push(what, &target, headers, &body, wants);
                    if let Some(case) = self.cases.last_mut() {
                        case.door = Door::Network;
                    }
                }
            }
            AuthClass::None | AuthClass::OptionalAppserviceToken => {}
        }
    }

    /// Each variable of the path in turn.
    fn paths(&mut self) {
        let body = self.good.body.to_string().into_bytes();
        let headers = self.own_headers();
        for at in 0..self.good.path.len() {
            let Segment::Variable { name, .. } = &self.good.path[at] else {
                continue;
            };
            let name = name.clone();
            let mut wrong = vec![
                ("is no UTF-8", "%FF", INVALID_PARAM),
                ("holds a zero", "a%00b", INVALID_PARAM),
            ];
            if IDS.contains(&&*name) {
                let wants = match self.row.auth {
                    AuthClass::AccessToken => NO_ID,
                    _ => Wants::ANY_REFUSAL,
                };
                wrong.push(("is no id", "x", wants));
                wrong.push(("is another kind of id", "%5Ex:one.test", wants));
            }
            for (what, raw, wants) in wrong {
                let mut path = self.good.path.clone();
                path[at] = Segment::Fixed(raw.to_owned());
                let target = with_query(&path_of(&path), &self.good.query);
                self.push(format!("`{name}` {what}"), &target, &headers, &body, wants);
            }
        }
    }

    /// Each parameter in turn.
    fn queries(&mut self) {
        let body = self.good.body.to_string().into_bytes();
        let headers = self.own_headers();
        let path = path_of(&self.good.path);
        for (name, _) in self.good.query.clone() {
            let typed = match TYPED.contains(&name) {
                true => Some(("has a wrong type", "~", self.of_shape(INVALID_PARAM))),
                false => None,
            };
            let others: Vec<_> = self
                .good
                .query
                .iter()
                .filter(|(n, _)| *n != name)
                .cloned()
                .collect();
            let others = with_query(&path, &others);
            let joint = if others.contains('?') { '&' } else { '?' };
            let no_utf8 = ("is no UTF-8", "%FF", INVALID_PARAM);
            for (what, raw, wants) in [no_utf8].into_iter().chain(typed) {
                let target = format!("{others}{joint}{name}={raw}");
                self.push(format!("`{name}` {what}"), &target, &headers, &body, wants);
            }
        }
    }

    fn bodies(&mut self) {
        if !self.is_json_read() {
            return;
        }
        let (target, headers) = (self.target(), self.own_headers());
        let broken = format!("{{\"password\":\"{CANARY}\",");
        let mut no_utf8 = format!("{{\"password\":\"{CANARY}").into_bytes();
        no_utf8.extend_from_slice(b"\xff\"}");
        for (what, body) in [
            ("half an object", broken.as_bytes()),
            ("no JSON", CANARY.as_bytes()),
            ("no value", br#"{"a":}"#),
            ("a body that is no UTF-8", &no_utf8),
        ] {
            self.push(what, &target, &headers, body, NOT_JSON);
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "x", ""] {
            let headers: Vec<String> = headers
                .iter()
                .cloned()
                .chain([format!("content-type: {kind}")])
                .collect();
            self.push(
                format!("half an object as {kind:?}"),
                &target,
                &headers,
                broken.as_bytes(),
                NOT_JSON,
            );
        }
        let bad_shape = self.of_shape(BAD_JSON);
        for body in ["[]", "5", "\"x\"", "null", "true"] {
            self.push(
                format!("{body} for an object"),
                &target,
                &headers,
                body.as_bytes(),
                bad_shape,
            );
        }
        let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let too_deep = self.of_shape(TOO_DEEP);
        self.push("deep lists", &target, &headers, deep.as_bytes(), too_deep);
        if !PIECEWISE.iter().any(|(name, _)| *name == self.row.name) {
            self.fields(&target, &headers, &deep);
            self.inner_fields(&target, &headers);
        }
    }

    /// Each value inside the body's fields in turn, where the specification says what it is.
    fn inner_fields(&mut self, target: &str, headers: &[String]) {
        let mut places = Vec::new();
        inner(&self.good.body, String::new(), 0, &mut places);
        let wants = self.of_shape(WRONG_TYPE);
        for place in places {
            let is_open = OPEN.iter().any(|(name, field)| {
                (*name == self.row.name || *name == "*") && place.starts_with(field)
            });
            let mut body = self.good.body.clone();
            let value = match body.pointer_mut(&place) {
                Some(value) if !is_open => value,
                _ => continue,
            };
            *value = of_another_type(value);
            let (what, body) = (format!("`{place}` has a wrong type"), body.to_string());
            self.push(what, target, headers, body.as_bytes(), wants);
        }
    }

    /// What JSON of a wrong shape is answered with. Other servers are first asked what they may do
    /// in the room.
    fn of_shape(&self, wants: Wants) -> Wants {
        match self.row.auth {
            AuthClass::ServerSignature => Wants::ANY_REFUSAL,
            _ => wants,
        }
    }

    /// Each field of the body in turn.
    fn fields(&mut self, target: &str, headers: &[String], deep: &str) {
        let Value::Object(fields) = self.good.body.clone() else {
            return;
        };
        let (too_deep, wrong_type) = (self.of_shape(TOO_DEEP), self.of_shape(WRONG_TYPE));
        let is_free = FREE_FORM.contains(&self.row.name);
        for (name, value) in &fields {
            let mut others = fields.clone();
            others.remove(name);
            let mut put = |what: &str, text: &str, wants| {
                let others = Value::Object(others.clone()).to_string();
                let joint = if others.len() > 2 { "," } else { "" };
                let body = format!("{{\"{name}\":{text}{joint}{}", &others[1..]);
                self.push(
                    format!("`{name}` {what}"),
                    target,
                    headers,
                    body.as_bytes(),
                    wants,
                );
            };
            put("is deep", deep, too_deep);
            if !is_free {
                let other = of_another_type(value);
                put("has a wrong type", &other.to_string(), wrong_type);
            }
        }
    }

    fn framing(&mut self) {
        let (target, headers) = (self.target(), self.own_headers());
        let with = |more: &[String]| headers.iter().chain(more).cloned().collect::<Vec<_>>();
        // What is announced never comes: the answer must not wait for it.
        let oversized = format!("content-length: {}", self.row.body_limit_bytes + 1);
        self.push_framed(
            "an oversized body",
            &target,
            &with(&[oversized]),
            b"",
            TOO_LARGE,
        );
        if self.row.body_kind == BodyKind::Json {
            let multipart = [
                "content-type: multipart/form-data; boundary=x".to_owned(),
                "content-length: 9".to_owned(),
            ];
            self.push_framed(
                "a multipart body",
                &target,
                &with(&multipart),
                b"",
                MULTIPART,
            );
        }
    }

    /// Mallory in Alice's place.
    fn somebody_elses(&mut self, place: &Place) {
        let (row, path) = (self.row, &*self.row.paths[0]);
        let is_person = row.auth == AuthClass::AccessToken;
        // Keys of a backup are filed by room, and nobody's but their owner's.
        let is_room = (path.contains("{room_id}") && !path.contains("/room_keys/"))
            || path.contains("{room_id_or_alias}");
        let is_theirs = path.contains("/user/{user_id}/")
            || path.contains("/typing/{user_id}")
            || (["/profile/{user_id}", "/presence/{user_id}"]
                .iter()
                .any(|of_a_person| path.contains(of_a_person))
                && row.method != Method::GET);
        let headers: Vec<String> = credentials(row, &place.mallory).into_iter().collect();
        let body = self.good.body.to_string().into_bytes();
        if is_person && is_theirs {
            let target = self.target();
            self.push("another person's", &target, &headers, &body, NOT_THEIRS);
        }
        let is_open = ANYBODYS_ROOM.iter().any(|(name, _)| *name == row.name);
        if is_room && !is_open && row.auth != AuthClass::None {
            self.outsiders(place);
        }
    }

    /// Everybody who is not in the room, in Alice's place.
    fn outsiders(&mut self, place: &Place) {
        let row = self.row;
        // All people are one to other servers.
        let (wants, count) = match row.auth {
            AuthClass::ServerSignature => (Wants::ANY_REFUSAL, 1),
            _ => (NOT_THEIR_ROOM, usize::MAX),
        };
        for (relation, who) in place.outsiders().into_iter().take(count) {
            let may_read = relation == "left" && row.method.is_safe();
            let is_door = DOORS
                .iter()
                .any(|(name, whose, _)| *name == row.name && whose.contains(&relation));
            if may_read || is_door {
                continue;
            }
            let theirs = sample(row, place, who);
            let headers: Vec<String> = credentials(row, who).into_iter().collect();
            let body = theirs.body.to_string().into_bytes();
            let what = format!("the room of another person, who {relation}");
            self.push(what, &theirs.target(), &headers, &body, wants);
        }
    }
}

fn of_another_type(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Null => json!(5),
        Value::Number(_) | Value::Bool(_) => json!("x"),
        Value::Array(_) | Value::Object(_) => json!(CANARY),
    }
}

/// The places of all values below the first level, as JSON pointers.
fn inner(value: &Value, place: String, level: usize, places: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, it)| (escaped(key), it)).collect(),
        Value::Array(items) => (0..).map(|at: usize| at.to_string()).zip(items).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        inner(child, format!("{place}/{key}"), level + 1, places);
    }
    if level > 1 {
        places.push(place);
    }
}

/// More than any parser that recurses survives.
const DEPTH: usize = 10_000;
