//! Reading JSON of strangers.

use serde::Deserialize;

/// Reads an object; the error is a sentence that names the field and the rule.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    // serde would also take a list of the fields in order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("must be a JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        format!("field `{field}`: {}", error.into_inner())
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}
