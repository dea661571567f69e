//! Requests of other servers: who sent them, and what a transaction holds.

use bytes::Bytes;
use hearth_protocol::canonical_json::ParseError;
use hearth_types::ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::key_ring::KeyRing;
use crate::x_matrix::{SignedRequest, XMatrix, XMatrixError};

/// Events in one transaction. spec: server-server v1.19 §Transactions.
pub const PDUS_MAX: usize = 50;
/// Ephemeral units in one transaction. spec: server-server v1.19 §Transactions.
pub const EDUS_MAX: usize = 100;
/// `Authorization` headers that are tried; a server sends one for each of its keys.
const AUTHORIZATIONS_MAX: usize = 4;

/// A request as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct InboundRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query exactly as in the request line, escapes and all.
    pub uri: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The whole body, empty where there is none.
    pub body: &'a [u8],
}

/// Why it is not known who sent a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    /// No `Authorization: X-Matrix` header.
    #[error("Authorization: an X-Matrix header is required")]
    NotSigned,
    /// The header is not what it should be.
    #[error(transparent)]
    Header(#[from] XMatrixError),
    /// The request is meant for another server.
    #[error("Authorization: `destination` must be this server's name")]
    OtherDestination,
    /// The key is not one that its server publishes and that is valid now, or its server cannot be
    /// reached.
    #[error("Authorization: no valid key {key_id} of {origin} could be had")]
    UnknownKey {
        /// Who says that it sent the request.
        origin: OwnedServerName,
        /// The key that it says it used.
        key_id: OwnedServerSigningKeyId,
    },
    /// The signature is not over this request.
    #[error("Authorization: the signature of {0} does not verify")]
    BadSignature(OwnedServerName),
    /// The body is no canonical JSON object: no signature can cover it.
    #[error("body: {0}")]
    Body(#[from] ParseError),
}

/// Finds out which server sent a request.
///
/// # Errors
/// [`InboundError`]; with several headers, what was wrong with the first.
pub async fn authenticate(
    keys: &KeyRing,
    our_name: &ServerName,
    request: InboundRequest<'_>,
) -> Result<OwnedServerName, InboundError> {
    let headers = request.headers.get_all(AUTHORIZATION).iter();
    let mut first_error = None;
    for header in headers.take(AUTHORIZATIONS_MAX) {
        let outcome = match XMatrix::parse(header.as_bytes()) {
            Ok(header) => check(keys, our_name, request, header).await,
            Err(XMatrixError::OtherScheme) => continue,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(origin) => return Ok(origin),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or(InboundError::NotSigned))
}

async fn check(
    keys: &KeyRing,
    our_name: &ServerName,
    request: InboundRequest<'_>,
    header: XMatrix,
) -> Result<OwnedServerName, InboundError> {
    let XMatrix {
        origin,
        destination,
        key_id,
        signature,
    } = header;
    if destination != our_name {
        return Err(InboundError::OtherDestination);
    }
    let Some(key) = keys.current_key(&origin, &key_id).await else {
        return Err(InboundError::UnknownKey { origin, key_id });
    };
    let signed = SignedRequest {
        method: request.method,
        uri: request.uri,
        origin: &origin,
        destination: &destination,
        content: request.body,
    };
    if signed.is_signed_by(&key, &signature)? {
        Ok(origin)
    } else {
        Err(InboundError::BadSignature(origin))
    }
}

/// What another server sent us in one transaction.
#[derive(Debug, Clone)]
pub struct InboundTransaction {
    /// Events, as received. Each goes through the verifier.
    pub pdus: Vec<Bytes>,
    /// Ephemeral units.
    pub edus: Vec<InboundEdu>,
}

/// An ephemeral unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundEdu {
    /// Its type.
    pub edu_type: String,
    /// Its content: a JSON value, unchecked.
    pub content: Bytes,
}

/// Why a transaction is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It does not have the shape of one.
    #[error("transaction: {0}")]
    Malformed(String),
    /// A list is longer than the specification permits.
    #[error("transaction: field `{field}` must not hold more than {max} items")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// What is permitted.
        max: usize,
    },
}

#[derive(Deserialize)]
struct TransactionBody<'a> {
    #[serde(default, borrow)]
    pdus: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    edus: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct EduBody<'a> {
    edu_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl InboundTransaction {
    /// Takes the body of `PUT /_matrix/federation/v1/send/{txnId}` apart, without copying. An
    /// ephemeral unit without type or content is dropped; it says nothing.
    ///
    /// # Errors
    /// [`TransactionError`] names the field.
    pub fn parse(body: &Bytes) -> Result<Self, TransactionError> {
        let parsed: TransactionBody<'_> = json::parse(body).map_err(TransactionError::Malformed)?;
        if parsed.pdus.len() > PDUS_MAX {
            return Err(TransactionError::TooMany {
                field: "pdus",
                max: PDUS_MAX,
            });
        }
        if parsed.edus.len() > EDUS_MAX {
            return Err(TransactionError::TooMany {
                field: "edus",
                max: EDUS_MAX,
            });
        }
        let piece = |part: &RawValue| body.slice_ref(part.get().as_bytes());
        let edu = |part: &&RawValue| {
            let EduBody { edu_type, content } = serde_json::from_str(part.get()).ok()?;
            Some(InboundEdu {
                edu_type,
                content: piece(content),
            })
        };
        Ok(Self {
            pdus: parsed.pdus.iter().map(|part| piece(part)).collect(),
            edus: parsed.edus.iter().filter_map(edu).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
