//! Large JSON answers, made smaller on their way: brotli, gzip or deflate, as the caller takes it.
//!
//! `docs/decisions/0017-compressed-answers.md` has the reasons, among them why this gives nothing
//! away (BREACH): answers that hold a token are never compressed.

use std::{
    io::{self, Write},
    sync::LazyLock,
    thread::available_parallelism,
};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{
    HeaderMap, HeaderValue, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use hyper::body::Body as _;
use tokio::sync::Semaphore;

use super::body::Body;
use crate::rate_limit::RateClass;

/// Smaller answers fit a few packets as they are.
const SIZE_MIN_BYTES: u64 = 4 * 1024;
/// Larger ones take long enough to be compressed off the threads that serve.
const BLOCKING_MIN_BYTES: usize = 64 * 1024;
/// Cheap: the network is rarely slower than these are.
const BROTLI_QUALITY: u32 = 2;
const BROTLI_WINDOW_BITS: u32 = 18;
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
    /// `deflate`, which is the zlib format.
    Deflate,
}

/// What is known, the one that makes answers smallest first.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Deflate];

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The coding that a caller likes best; among equals the one that makes answers smallest.
    ///
    /// spec: RFC 9110 § 12.5.3
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let mut weights = [None; CODINGS.len()];
        let mut other = None;
        for item in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','))
        {
            let (name, weight) = weighed(item);
            if name == "*" {
                other = Some(weight);
            }
            let place = CODINGS
                .iter()
                .position(|coding| coding.name().eq_ignore_ascii_case(name));
            if let Some(slot) = place.and_then(|place| weights.get_mut(place)) {
                *slot = Some(weight);
            }
        }
        let weights = weights.map(|weight| weight.or(other).unwrap_or_default());
        let mut best = None;
        for (coding, weight) in CODINGS.into_iter().zip(weights) {
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }

    fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let out = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(
                    out,
                    BROTLI_BUFFER_BYTES,
                    BROTLI_QUALITY,
                    BROTLI_WINDOW_BITS,
                );
                encoder.write_all(bytes)?;
                Ok(encoder.into_inner())
            }
        }
    }
}

/// An item of `Accept-Encoding` with its weight in thousandths; what cannot be read is not taken.
fn weighed(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    (name, weight.map_or(1_000, thousandths))
}

fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    match (
        whole,
        digits.get(..3).and_then(|digits| digits.parse().ok()),
    ) {
        ("1", Some(0)) => 1_000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

/// Whether answers of a row may be compressed: not those that carry a token or prove a password.
const fn may_shrink(class: RateClass) -> bool {
    !matches!(
        class,
        RateClass::Login | RateClass::Register | RateClass::Unlimited
    )
}

/// The same answer in fewer bytes, where it is JSON, large, and the caller takes it so.
pub async fn shrink(
    response: Response<Body>,
    class: RateClass,
    coding: Option<Coding>,
) -> Response<Body> {
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let is_large = response.body().size_hint().lower() >= SIZE_MIN_BYTES;
    if !is_json
        || !is_large
        || !may_shrink(class)
        || response.headers().contains_key(CONTENT_ENCODING)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(coding) = coding else {
        return Response::from_parts(parts, body);
    };
    let plain = whole(body);
    match compressed(coding, plain.clone()).await {
        Some(small) if small.len() < plain.len() => {
            let name = HeaderValue::from_static(coding.name());
            parts.headers.insert(CONTENT_ENCODING, name);
            Response::from_parts(parts, Body::new(small.into()))
        }
        _ => Response::from_parts(parts, Body::new(plain)),
    }
}

/// The bytes of a body that is one piece.
fn whole(body: Body) -> Bytes {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    match body.collect().now_or_never() {
        Some(Ok(whole)) => whole.to_bytes(),
        None => Bytes::new(),
    }
}

/// Large answers being compressed at once: no more than can make headway.
static AT_ONCE: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

#[expect(
    clippy::disallowed_methods,
    reason = "the semaphore bounds the work, whose size the answer bounds"
)]
async fn compressed(coding: Coding, plain: Bytes) -> Option<Vec<u8>> {
    if plain.len() < BLOCKING_MIN_BYTES {
        return coding.compress(&plain).ok();
    }
    let permit = AT_ONCE.acquire().await.ok()?;
    let done = tokio::task::spawn_blocking(move || coding.compress(&plain).ok()).await;
    drop(permit);
    done.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures_util::FutureExt;
    use http::StatusCode;

    use super::*;
    use crate::http::error::json_bytes;

    fn accepted(values: &[&str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, value.parse().unwrap());
        }
        Coding::accepted(&headers)
    }

    #[test]
    fn the_caller_chooses_and_among_equals_we_do() {
        use Coding::{Brotli, Deflate, Gzip};
        for (values, coding) in [
            (&["gzip, deflate, br"][..], Some(Brotli)),
            (&["gzip, deflate"], Some(Gzip)),
            (&["deflate"], Some(Deflate)),
            (&["gzip;q=1.0, br;q=0.5"], Some(Gzip)),
            (&["BR;q=0.001"], Some(Brotli)),
            (&["br;q=0, gzip;q=0"], None),
            (&["*"], Some(Brotli)),
            (&["*;q=0.5, br;q=0"], Some(Gzip)),
            (&["identity"], None),
            (&["zstd", "gzip"], Some(Gzip)),
            (&["br;q=nonsense"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(accepted(values), coding, "{values:?}");
        }
    }

    fn expand(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
            Coding::Deflate => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain),
        }
        .unwrap();
        plain
    }

    #[tokio::test]
    async fn every_coding_gives_back_what_went_in_at_every_size() {
        for coding in [Coding::Brotli, Coding::Gzip, Coding::Deflate] {
            for events in [100, 2_000] {
                let event = r#"{"type":"m.room.message","content":{"body":"hello"}},"#;
                let plain = format!("[{}0]", event.repeat(events));
                let answer = json_bytes(StatusCode::OK, plain.clone().into());
                let small = shrink(answer, RateClass::Sync, Some(coding)).await;
                assert_eq!(small.headers()[CONTENT_ENCODING], coding.name());
                assert_eq!(small.headers()[VARY], "Accept-Encoding");
                let small = whole(small.into_body());
                assert!(small.len() < plain.len() / 4, "{} bytes", small.len());
                assert_eq!(expand(coding, &small), plain.as_bytes());
            }
        }
    }

    #[test]
    fn small_answers_and_those_with_tokens_stay_as_they_are() {
        let large = "x".repeat(10_000);
        for (body, class) in [
            ("{}", RateClass::Read),
            (&*large, RateClass::Login),
            (&*large, RateClass::Register),
        ] {
            let answer = json_bytes(StatusCode::OK, body.to_owned().into());
            let same = shrink(answer, class, Some(Coding::Gzip))
                .now_or_never()
                .unwrap();
            assert!(!same.headers().contains_key(CONTENT_ENCODING));
            assert_eq!(whole(same.into_body()), body);
        }
    }
}
