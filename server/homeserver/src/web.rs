//! The web client, embedded at build time.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{self, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG},
};

use crate::http::body::Body;

/// A file of the web client with its pre-compressed twins.
#[derive(Debug)]
pub struct Asset {
    /// Its path, without the leading slash.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Changes when its bytes do.
    pub etag: &'static str,
    /// The file itself.
    pub plain: &'static [u8],
    /// Its twin `.br`.
    pub brotli: Option<&'static [u8]>,
    /// Its twin `.gz`.
    pub gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/web_assets.rs"));

/// What a build without the web client shows instead of it.
const NO_WEB_CLIENT: Asset = Asset {
    path: "index.html",
    content_type: "text/html; charset=utf-8",
    etag: "\"none\"",
    plain: b"<!doctype html><html lang=\"en\"><title>Hearth</title><h1>Hearth is running</h1>\
        <p>This build has no web client. <code>make web</code> builds it, and the next \
        <code>cargo build</code> embeds it. Any other Matrix client can use this server.</p>",
    brotli: None,
    gzip: None,
};

/// On every file: the page may run its own code and talk to its own server, nothing else.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; \
         manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The files of one web client, sorted by path.
#[derive(Clone, Copy, Debug)]
pub struct WebClient {
    assets: &'static [Asset],
}

impl WebClient {
    /// The client that was built into this binary.
    #[must_use]
    pub fn embedded() -> Self {
        Self { assets: ASSETS }
    }

    /// A client of these files, which are sorted by path.
    #[must_use]
    pub fn new(assets: &'static [Asset]) -> Self {
        Self { assets }
    }

    /// Answers `GET` of a path that belongs to no API. Every path that is no file shows the page,
    /// which does its own routing, except where only files live.
    #[must_use]
    pub fn answer(&self, path: &str, headers: &HeaderMap) -> Response<Body> {
        let name = path.trim_start_matches('/');
        let name = if name.is_empty() { "index.html" } else { name };
        match self.find(name) {
            Some(asset) => file(asset, headers),
            None if name.starts_with("assets/") => missing(),
            None => file(self.find("index.html").unwrap_or(&NO_WEB_CLIENT), headers),
        }
    }

    fn find(&self, name: &str) -> Option<&'static Asset> {
        let index = self
            .assets
            .binary_search_by(|asset| asset.path.cmp(name))
            .ok()?;
        self.assets.get(index)
    }
}

fn file(asset: &'static Asset, request: &HeaderMap) -> Response<Body> {
    let (encoding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(request, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(request, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    let is_known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == asset.etag);
    let mut response = Response::new(Body::from(if is_known { &[][..] } else { bytes }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    if let Some(encoding) = encoding.filter(|_| !is_known) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    // Files under `assets/` carry a hash of their content in their name.
    let is_hashed = asset.path.starts_with("assets/");
    let cache = if is_hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    secure(headers);
    response
}

fn missing() -> Response<Body> {
    let mut response = Response::new(Body::from("There is no such file here.\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    secure(response.headers_mut());
    response
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether the client takes an encoding: it is named, and not with `q=0`.
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let values = request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|offer| {
        let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[Asset] = &[
        Asset {
            path: "assets/app-1a2b.wasm",
            content_type: "application/wasm",
            etag: "\"1\"",
            plain: b"plain",
            brotli: Some(b"br"),
            gzip: Some(b"gz"),
        },
        Asset {
            path: "index.html",
            content_type: "text/html; charset=utf-8",
            etag: "\"2\"",
            plain: b"<!doctype html>",
            brotli: None,
            gzip: None,
        },
    ];

    fn get(path: &str, header: Option<(HeaderName, &'static str)>) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        WebClient::new(FILES).answer(path, &headers)
    }

    #[test]
    fn the_smallest_twin_that_the_client_takes_is_served() {
        for (offer, encoding) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.5", Some("gzip")),
            ("identity", None),
        ] {
            let response = get("/assets/app-1a2b.wasm", Some((ACCEPT_ENCODING, offer)));
            let served = response
                .headers()
                .get(CONTENT_ENCODING)
                .map(|v| v.to_str().unwrap());
            assert_eq!(served, encoding, "{offer}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/wasm");
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
        }
    }

    #[test]
    fn hashed_files_are_kept_for_ever_and_the_page_is_always_asked_for() {
        assert!(
            get("/assets/app-1a2b.wasm", None).headers()[CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        for path in ["/", "/index.html", "/room/!a:one.test"] {
            let response = get(path, None);
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-cache", "{path}");
            assert_eq!(response.headers()[ETAG], "\"2\"", "{path}");
        }
        let known = get("/", Some((header::IF_NONE_MATCH, "\"2\"")));
        assert_eq!(known.status(), 304);
    }

    #[test]
    fn a_file_that_is_gone_is_not_answered_with_the_page() {
        assert_eq!(get("/assets/old.js", None).status(), 404);
    }

    #[test]
    fn every_answer_carries_the_security_headers() {
        for path in ["/", "/assets/app-1a2b.wasm", "/assets/old.js"] {
            let response = get(path, None);
            for (name, value) in SECURITY_HEADERS {
                assert_eq!(response.headers()[&name], value, "{path}");
            }
        }
    }

    #[test]
    fn embedded_files_are_sorted_so_that_they_are_found() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
    }
}
