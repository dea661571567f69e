//! The `Authorization: X-Matrix …` header, both ways.
//!
//! spec: server-server v1.19 §Request Authentication; RFC 9110 §11.4.

use hearth_protocol::canonical_json::{ParseError, canonical_envelope, write_string};
use hearth_protocol::signing::{SigningKey, VerifyKey};
use hearth_types::ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use http::HeaderValue;
use http::header::InvalidHeaderValue;

/// Longest header that is read; a proper one has less than 900 bytes.
const HEADER_MAX_BYTES: usize = 2_048;
/// Parameters, unknown ones included.
const PARAMETERS_MAX: usize = 16;

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XMatrix {
    /// Who says that it sent the request.
    pub origin: OwnedServerName,
    /// To whom.
    pub destination: OwnedServerName,
    /// The key that it was signed with.
    pub key_id: OwnedServerSigningKeyId,
    /// The signature, in base64, unchecked.
    pub signature: String,
}

/// Why a header is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XMatrixError {
    /// Longer than any proper one.
    #[error("Authorization: must not be longer than {HEADER_MAX_BYTES} bytes")]
    TooLong,
    /// Another scheme than `X-Matrix`.
    #[error("Authorization: the scheme must be X-Matrix")]
    OtherScheme,
    /// The list of parameters does not follow the grammar.
    #[error("Authorization: {0}")]
    Syntax(&'static str),
    /// A parameter is not there.
    #[error("Authorization: parameter `{0}` is missing")]
    Missing(&'static str),
    /// A parameter is there twice.
    #[error("Authorization: parameter `{0}` must be given once")]
    Repeated(&'static str),
    /// The value is not what it should be.
    #[error("Authorization: parameter `{0}` is not valid")]
    Invalid(&'static str),
}

impl XMatrix {
    /// Reads the value of an `Authorization` header.
    ///
    /// Accepts what the grammar permits (parameters in any order, names in any case, values quoted
    /// or not, escapes, white space around commas), and unquoted what old servers left so
    /// (colons, base64). `destination` must be there: without it a request could be replayed at
    /// another server.
    ///
    /// # Errors
    /// [`XMatrixError`] names the parameter and the rule.
    pub fn parse(header: &[u8]) -> Result<Self, XMatrixError> {
        if header.len() > HEADER_MAX_BYTES {
            return Err(XMatrixError::TooLong);
        }
        let header = std::str::from_utf8(header)
            .map_err(|_| XMatrixError::Syntax("the header must be text"))?;
        let scheme_end = header.find([' ', '\t']).unwrap_or(header.len());
        let (scheme, parameters) = header.split_at(scheme_end);
        if !scheme.eq_ignore_ascii_case("X-Matrix") {
            return Err(XMatrixError::OtherScheme);
        }
        let [origin, destination, key, signature] =
            named_parameters(parameters, ["origin", "destination", "key", "sig"])?;
        Ok(Self {
            origin: origin
                .try_into()
                .map_err(|_| XMatrixError::Invalid("origin"))?,
            destination: destination
                .try_into()
                .map_err(|_| XMatrixError::Invalid("destination"))?,
            key_id: key.try_into().map_err(|_| XMatrixError::Invalid("key"))?,
            signature,
        })
    }
}

/// The values of the parameters `names`, each of which must be there once.
fn named_parameters<const N: usize>(
    mut rest: &str,
    names: [&'static str; N],
) -> Result<[String; N], XMatrixError> {
    let mut values = [const { None::<String> }; N];
    for _ in 0..PARAMETERS_MAX {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let (name, after_name) = rest
            .split_once('=')
            .ok_or(XMatrixError::Syntax("a parameter must have a value"))?;
        let (value, after_value) = parameter_value(after_name.trim_start_matches([' ', '\t']))?;
        let name = name.trim_end_matches([' ', '\t']);
        let mut known = names.iter().zip(&mut values);
        if let Some((name, slot)) = known.find(|(known, _)| name.eq_ignore_ascii_case(known))
            && slot.replace(value).is_some()
        {
            return Err(XMatrixError::Repeated(name));
        }
        rest = after_value.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(XMatrixError::Syntax(
                "parameters must be separated by commas",
            ));
        }
    }
    if !rest.is_empty() {
        return Err(XMatrixError::Syntax("there are too many parameters"));
    }
    let mut missing = None;
    let found = std::array::from_fn(|index| {
        values[index].take().unwrap_or_else(|| {
            missing.get_or_insert(names[index]);
            String::new()
        })
    });
    missing.map_or(Ok(found), |name| Err(XMatrixError::Missing(name)))
}

/// One value, and what follows it.
fn parameter_value(text: &str) -> Result<(String, &str), XMatrixError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Ok((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(XMatrixError::Syntax("a quoted value must end with a quote"))
}

/// A request as it is signed: exactly what is on the wire, with the names before delegation.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query as in the request line.
    pub uri: &'a str,
    /// Who sends it.
    pub origin: &'a ServerName,
    /// Who receives it.
    pub destination: &'a ServerName,
    /// The body, empty where there is none: a JSON object.
    pub content: &'a [u8],
}

impl SignedRequest<'_> {
    /// The bytes that the signature covers.
    ///
    /// # Errors
    /// When the content is not a JSON object or has no canonical form.
    fn signed_bytes(&self) -> Result<Vec<u8>, ParseError> {
        if self.content.is_empty() {
            return Ok(self.bytes_around(b""));
        }
        Ok(self.bytes_around(&canonical_envelope(self.content)?))
    }

    /// The canonical form of the whole request, where `content` is that of its content.
    fn bytes_around(&self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(content.len() + 512);
        out.push(b'{');
        if !content.is_empty() {
            out.extend_from_slice(br#""content":"#);
            out.extend_from_slice(content);
            out.push(b',');
        }
        for (lead, text) in [
            (r#""destination":"#, self.destination.as_str()),
            (r#","method":"#, self.method),
            (r#","origin":"#, self.origin.as_str()),
            (r#","uri":"#, self.uri),
        ] {
            out.extend_from_slice(lead.as_bytes());
            write_string(text, &mut out);
        }
        out.push(b'}');
        out
    }

    /// The value of the `Authorization` header for this request, in the form that the oldest
    /// servers understand.
    ///
    /// # Errors
    /// When the content is not a JSON object or has no canonical form.
    pub fn authorization(&self, key: &SigningKey) -> Result<HeaderValue, SigningError> {
        let signature = key.sign(&self.signed_bytes()?);
        let (origin, destination, key_id) = (self.origin, self.destination, key.id());
        let value = format!(
            r#"X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}""#
        );
        Ok(HeaderValue::try_from(value)?)
    }

    /// Whether `signature` (base64) is `key`'s over this request.
    ///
    /// Nearly every server sends the content in the form that it signed. Such bytes are checked as they
    /// are, so that one event in them that has no canonical form here is refused alone, where it is
    /// read, and not with all that came along.
    ///
    /// # Errors
    /// When the content is not a JSON object, or was not signed as it is and has no canonical form.
    pub fn is_signed_by(&self, key: &VerifyKey, signature: &str) -> Result<bool, ParseError> {
        // Bytes that are no JSON cannot be read as more or less than what was signed either: what
        // follows them is known, up to its last byte.
        if key.verifies(&self.bytes_around(self.content), signature) {
            return Ok(true);
        }
        Ok(key.verifies(&self.signed_bytes()?, signature))
    }
}

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// Its content is no JSON object, or has no canonical form.
    #[error("request body: {0}")]
    Content(#[from] ParseError),
    /// A name in it cannot stand in a header.
    #[error("Authorization: {0}")]
    Header(#[from] InvalidHeaderValue),
}

#[cfg(test)]
mod tests;
