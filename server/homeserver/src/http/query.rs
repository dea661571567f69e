//! The query of a request.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The values of a parameter; none for one that is not UTF-8 once decoded.
pub fn values<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = Option<Cow<'q, str>>> {
    let pairs = query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key).as_deref() == Some(name)).then_some(value)
    });
    pairs.map(decode)
}

/// The value of a parameter, where it has one.
#[must_use]
pub fn value<'q>(query: &'q str, name: &'q str) -> Option<Cow<'q, str>> {
    values(query, name).next().flatten()
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}
