//! From the bytes of a message to its text. Compressed bodies are unpacked within a bound, and a
//! byte order mark is skipped.
//!
//! The first bytes show a compressed body, because no JSON begins like this. The client's
//! `content_encoding` only helps to explain an error: many clients name a character set there.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// The largest window that Zstandard may ask for, as a power of two: 8 MiB, what its own command line
/// takes by default.
const ZSTD_WINDOW_LOG: u32 = 23;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a body may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zlib,
    /// Deflate without its header, as some clients write it.
    Deflate,
    Zstd,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib | Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// The compression that the first bytes show.
    fn of_bytes(body: &[u8]) -> Option<Self> {
        match body {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x78, second, ..] if (0x7800 + u16::from(*second)).is_multiple_of(31) => {
                Some(Self::Zlib)
            }
            _ => None,
        }
    }
}

/// The text of a message: at most `max_bytes` after unpacking. `encoding` is the publisher's name
/// for the compression. An error is the end of a sentence.
pub(super) fn text_of<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    max_bytes: usize,
) -> Result<Cow<'a, [u8]>, String> {
    let said = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    let unpacked = match Coding::of_bytes(body) {
        Some(coding) => Cow::Owned(unpack(body, coding, max_bytes)?),
        None if is_json(body) => Cow::Borrowed(body),
        None if said == "deflate" && !body.is_empty() => {
            Cow::Owned(unpack(body, Coding::Deflate, max_bytes)?)
        }
        None => match said.strip_prefix("x-").unwrap_or(&said) {
            "gzip" | "zstd" if !body.is_empty() => {
                return Err(format!("is not {said}, which its content_encoding says"));
            }
            "br" | "brotli" | "compress" | "bzip2" | "lz4" | "lzma" | "snappy" | "xz" => {
                return Err(format!(
                    "is compressed by {said}, which is not read here: send it as it is, or with \
                     gzip, deflate or zstd"
                ));
            }
            _ => Cow::Borrowed(body),
        },
    };
    Ok(match unpacked {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(UTF8_MARK).unwrap_or(text)),
        Cow::Owned(mut text) => {
            if text.starts_with(UTF8_MARK) {
                text.drain(..UTF8_MARK.len());
            }
            Cow::Owned(text)
        }
    })
}

/// Whether it may be a JSON object.
fn is_json(body: &[u8]) -> bool {
    let text = body.strip_prefix(UTF8_MARK).unwrap_or(body);
    text.trim_ascii_start().first() == Some(&b'{')
}

fn unpack(body: &[u8], coding: Coding, max_bytes: usize) -> Result<Vec<u8>, String> {
    let read = match coding {
        Coding::Gzip => read_up_to(MultiGzDecoder::new(body), max_bytes),
        Coding::Zlib => read_up_to(ZlibDecoder::new(body), max_bytes),
        Coding::Deflate => read_up_to(DeflateDecoder::new(body), max_bytes),
        Coding::Zstd => zstd::stream::read::Decoder::new(body).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            read_up_to(decoder, max_bytes)
        }),
    };
    let name = coding.name();
    let text = read.map_err(|error| format!("cannot be unpacked as {name}: {error}"))?;
    if text.len() > max_bytes {
        return Err(format!(
            "is more than the {max_bytes} bytes allowed once it is unpacked as {name} \
             (MESSAGE_MAX_KB)"
        ));
    }
    Ok(text)
}

/// At most one byte more than allowed, to notice a text that is too long.
fn read_up_to(from: impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    from.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = br#"{"id": "a"}"#;
    const MAX: usize = 1000;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8], level: Compression) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn text(body: &[u8], encoding: &str) -> Result<Vec<u8>, String> {
        text_of(body, Some(encoding), MAX).map(Cow::into_owned)
    }

    #[test]
    fn a_compressed_message_is_unpacked_whatever_is_said_of_it() {
        let zstd = zstd::stream::encode_all(TEXT, 3).unwrap();
        let bodies = [
            gzip(TEXT),
            zlib(TEXT, Compression::fast()),
            zlib(TEXT, Compression::best()),
            zstd,
            gzip(&[UTF8_MARK, TEXT].concat()),
        ];
        for body in bodies {
            for encoding in ["gzip", "deflate", "GZIP ", "zstd", "utf-8", "binary", "br", ""] {
                assert_eq!(text(&body, encoding).unwrap(), TEXT, "{encoding}");
            }
            assert_eq!(text_of(&body, None, MAX).unwrap(), TEXT);
        }
        assert_eq!(text(&deflate(TEXT), "deflate").unwrap(), TEXT);
    }

    #[test]
    fn a_plain_message_is_taken_as_it_is_whatever_is_said_of_it() {
        for encoding in ["", "utf-8", "gzip", "deflate", "br", "zstd", "x-gzip", "whatever"] {
            assert_eq!(text(TEXT, encoding).unwrap(), TEXT, "{encoding}");
            let marked = [UTF8_MARK, b" ", TEXT].concat();
            assert_eq!(text(&marked, encoding).unwrap(), [b" ", TEXT].concat(), "{encoding}");
        }
    }

    #[test]
    fn a_message_that_grows_beyond_the_bound_is_refused_before_it_is_whole() {
        let zeros = vec![b' '; 200_000];
        let zstd = zstd::stream::encode_all(&zeros[..], 3).unwrap();
        let packed = [gzip(&zeros), zlib(&zeros, Compression::best()), deflate(&zeros), zstd];
        for body in packed {
            let said = text(&body, "deflate").unwrap_err();
            assert!(said.contains("1000 bytes allowed once it is unpacked"), "{said}");
            assert!(said.contains("MESSAGE_MAX_KB"), "{said}");
        }
        let exactly = vec![b' '; MAX];
        assert_eq!(text(&gzip(&exactly), "").unwrap(), exactly);
    }

    #[test]
    fn what_cannot_be_unpacked_says_why() {
        let cut = |body: Vec<u8>| body[..body.len() - 3].to_vec();
        for (body, encoding, problem) in [
            (cut(gzip(TEXT)), "gzip", "cannot be unpacked as gzip: "),
            (cut(zlib(TEXT, Compression::best())), "", "cannot be unpacked as deflate: "),
            (b"id: a".to_vec(), "gzip", "is not gzip, which its content_encoding says"),
            (b"\x0b\x05\x80".to_vec(), "br", "is compressed by br, which is not read here"),
            (b"\xff\xff".to_vec(), "deflate", "cannot be unpacked as deflate: "),
        ] {
            let said = text(&body, encoding).unwrap_err();
            assert!(said.starts_with(problem), "{said}");
        }
    }
}
