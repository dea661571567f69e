//! From bytes to a typed request, and, when that fails, to a refusal that names the field.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use hearth_types::ruma::api::{
    IncomingRequest,
    error::{DeserializationError, HeaderDeserializationError},
};
use http::Request;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::{
    error::{Code, RouteError},
    proof::read_with_proof,
};

/// Parses a request by its endpoint type.
///
/// # Errors
/// `M_NOT_JSON` for a body that is no JSON, `M_BAD_JSON` for one of the wrong shape,
/// `M_MISSING_PARAM` and `M_INVALID_PARAM` for path, query and headers.
pub fn parse<R: IncomingRequest>(
    request: &Request<Bytes>,
    path_args: &[String],
) -> Result<R, RouteError> {
    read_with_proof(request.body(), |body| parse_body(request, body, path_args))
}

/// Parses a request with another body in the place of its own.
fn parse_body<R: IncomingRequest>(
    request: &Request<Bytes>,
    body: &[u8],
    path_args: &[String],
) -> Result<R, RouteError> {
    let args: Vec<&str> = path_args.iter().map(String::as_str).collect();
    let mut view = Request::new(body);
    *view.method_mut() = request.method().clone();
    *view.uri_mut() = request.uri().clone();
    *view.headers_mut() = request.headers().clone();
    // ruma's deserializers index and unwrap in places; a request must not gain anything by that.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        R::try_from_http_request_inner(view, &args)
    }));
    match parsed {
        Ok(parsed) => parsed.map_err(|error| refusal(&error, body)),
        Err(_) => {
            let message = "The request lacks a field that this endpoint needs";
            Err(RouteError::refuse(Code::BAD_JSON, message))
        }
    }
}

fn refusal(error: &DeserializationError, body: &[u8]) -> RouteError {
    match error {
        DeserializationError::Json(error) => json_refusal(error, body),
        DeserializationError::Utf8(_) => {
            RouteError::refuse(Code::NOT_JSON, "The body is not valid UTF-8")
        }
        DeserializationError::Header(HeaderDeserializationError::MissingHeader(name)) => {
            RouteError::refuse(
                Code::MISSING_PARAM,
                format!("The header `{name}` is missing"),
            )
        }
        other => {
            let reason = other.to_string();
            let code = if reason.starts_with("missing field") {
                Code::MISSING_PARAM
            } else {
                Code::INVALID_PARAM
            };
            RouteError::refuse(
                code,
                format!("Wrong parameter in the path or query: {reason}"),
            )
        }
    }
}

/// The refusal for a JSON body that serde rejected.
#[must_use]
pub fn json_refusal(error: &serde_json::Error, body: &[u8]) -> RouteError {
    if nests_too_deep(error) && is_json(body) != Some(false) {
        return RouteError::refuse(Code::BAD_JSON, "The JSON nests too deep to be read");
    }
    match (error.classify(), is_json(body)) {
        // A field that is wrong may come before the text breaks off, and a field's own text may be
        // no JSON: what decides is the body as a whole, where it is at hand.
        (_, Some(true)) | (Category::Data, None) => {
            let field = field_at(body, error.line(), error.column());
            let place = field
                .map(|field| format!(" at `{field}`"))
                .unwrap_or_default();
            RouteError::refuse(Code::BAD_JSON, format!("Wrong shape{place}: {error}"))
        }
        _ => RouteError::refuse(
            Code::NOT_JSON,
            format!("The body is not valid JSON: {error}"),
        ),
    }
}

/// Whether a parser gave up because of how deep the text nests. Its error says so in words alone.
fn nests_too_deep(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("recursion limit exceeded")
}

/// Whether a body is JSON; `None` if it is not at hand.
fn is_json(body: &[u8]) -> Option<bool> {
    (!body.is_empty()).then(|| serde_json::from_slice::<IgnoredAny>(body).is_ok())
}

/// The path of the field that a parser was in at a position (`line` and `column` as serde counts
/// them, from 1), such as `content.body`; array elements are not numbered.
fn field_at(body: &[u8], line: usize, column: usize) -> Option<String> {
    let line_start: usize = body
        .split(|byte| *byte == b'\n')
        .take(line.checked_sub(1)?)
        .map(|l| l.len() + 1)
        .sum();
    let end = body.len().min(line_start + column);
    let mut open: Vec<Option<&[u8]>> = Vec::new();
    let (mut at, mut last) = (0, &[][..]);
    while at < end {
        match body[at] {
            b'"' => {
                let close = string_end(body, at + 1);
                last = &body[at + 1..close.min(body.len())];
                at = close;
            }
            b':' => {
                if let Some(key) = open.last_mut() {
                    *key = Some(last);
                }
            }
            b',' if at + 1 < end => {
                if let Some(key) = open.last_mut() {
                    *key = None;
                }
            }
            b'{' | b'[' => open.push(None),
            b'}' | b']' if at + 1 < end => {
                open.pop();
            }
            _ => {}
        }
        at += 1;
    }
    let keys: Vec<_> = open
        .into_iter()
        .flatten()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .collect();
    (!keys.is_empty()).then(|| keys.join("."))
}

/// The index of the quote that ends the string starting at `at`, or the end of the text.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape is used")]
    struct Outer {
        name: String,
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape is used")]
    struct Inner {
        list: Vec<u8>,
        text: Option<String>,
    }

    fn answer(text: &str) -> Value {
        let error = serde_json::from_str::<Outer>(text).unwrap_err();
        let response = json_refusal(&error, text.as_bytes()).into_response("r");
        let collected = futures_util::FutureExt::now_or_never(response.into_body().collect());
        serde_json::from_slice(&collected.unwrap().unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        for (text, field) in [
            (r#"{"name": 5, "inner": {"list": []}}"#, "`name`"),
            (r#"{"name": "a", "inner": {"list": ["x"]}}"#, "`inner.list`"),
            (
                "{\"name\": \"a,\\\"b:\",\n\n \"inner\": {\"list\": [1], \"text\": 7}}",
                "`inner.text`",
            ),
            (r#"{"name": "a", "inner": {}}"#, "missing field `list`"),
            (r#"{}"#, "missing field `name`"),
        ] {
            let answer = answer(text);
            assert_eq!(answer["errcode"], "M_BAD_JSON");
            let sentence = answer["error"].as_str().unwrap();
            assert!(sentence.contains(field), "{text}: {sentence}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_json_all_the_same() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let error = serde_json::from_str::<Value>(&deep).unwrap_err();
        for (body, errcode) in [
            (deep.as_bytes(), "M_BAD_JSON"),
            (b"", "M_BAD_JSON"),
            (&deep.as_bytes()[..600], "M_NOT_JSON"),
        ] {
            let response = json_refusal(&error, body).into_response("r");
            let collected = futures_util::FutureExt::now_or_never(response.into_body().collect());
            let bytes = collected.unwrap().unwrap().to_bytes();
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(answer["errcode"], errcode, "{answer}");
        }
    }

    #[test]
    fn what_is_no_json_says_so() {
        for text in [
            "",
            "{",
            "{\"name\": }",
            "{\"name\": 5, ",
            "nope",
            "{\"name\":\"\u{0}\"}",
        ] {
            assert_eq!(answer(text)["errcode"], "M_NOT_JSON", "{text}");
        }
    }

    #[test]
    fn the_field_finder_survives_any_position_in_any_text() {
        let texts: [&[u8]; 5] = [
            b"",
            b"{\"a\\",
            b"]]]}}}",
            b"{\"a\":{\"b\":[",
            b"\xff\"\xff:",
        ];
        for text in texts {
            for line in 0..4 {
                for column in 0..20 {
                    field_at(text, line, column);
                }
            }
        }
    }
}
