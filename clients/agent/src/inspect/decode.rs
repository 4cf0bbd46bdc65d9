//! Bodies without their content coding, to look at.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// A compressed body may unfold to this many times what is kept of it; more is not read.
const MAX_RATIO: usize = 8;

/// The body as its sender meant it, where the coding is gzip or deflate; else `None`. Of a body that is cut, what can be
/// read of it.
pub(super) fn decoded(headers: &HeaderMap, body: &[u8], max_body: usize) -> Option<Vec<u8>> {
    let coding = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim().to_ascii_lowercase();
    let limit = (max_body.saturating_mul(MAX_RATIO)) as u64;
    let mut out = Vec::new();
    let read = match coding.as_str() {
        "gzip" | "x-gzip" => MultiGzDecoder::new(body).take(limit).read_to_end(&mut out),
        "deflate" => ZlibDecoder::new(body).take(limit).read_to_end(&mut out),
        _ => return None,
    };
    (read.is_ok() || !out.is_empty()).then_some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn gzip_is_undone_up_to_a_bound() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[b'a'; 100_000]).unwrap();
        let body = encoder.finish().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(decoded(&headers, &body, 1 << 20), None);
        headers.insert(CONTENT_ENCODING, "GZIP".parse().unwrap());
        assert_eq!(decoded(&headers, &body, 1 << 20).unwrap(), [b'a'; 100_000]);
        assert_eq!(decoded(&headers, &body, 1_000).unwrap().len(), 8_000);
        assert!(!decoded(&headers, &body[..body.len() / 2], 1 << 20).unwrap().is_empty(), "the beginning of a cut one");
        assert_eq!(decoded(&headers, b"no gzip", 1 << 20), None);
    }
}
