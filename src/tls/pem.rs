//! Reads certificates and keys in PEM. An error is the end of a sentence that begins with the file,
//! and never shows its content.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The largest file that is read, in bytes. A bundle of all public authorities has a fifth of this
/// size.
const MAX_BYTES: u64 = 1024 * 1024;

/// The length of a line of text in PEM.
const LINE: usize = 64;

/// The certificates in a file, in their order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(holds_none(&text, "certificate", "BEGIN CERTIFICATE")),
        Err(error) => Err(broken(&error)),
    }
}

/// The first private key in a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if is_encrypted(&text) => {
            Err("holds an encrypted private key: store it without a passphrase".to_owned())
        }
        Err(PemError::NoItemsFound) => Err(holds_none(&text, "private key", "BEGIN PRIVATE KEY")),
        Err(error) => Err(broken(&error)),
    }
}

/// A certificate as text.
pub(super) fn written(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(LINE).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Whether the first certificate, which identifies us, is valid now.
pub(super) fn check_first(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    chain.first().map_or(Ok(()), |first| check(first, Timestamp::now()))
}

/// Whether any of several authorities is valid now. While they are exchanged, a file has the old
/// and the new one.
pub(super) fn check_any(found: &[CertificateDer<'_>]) -> Result<(), String> {
    let now = Timestamp::now();
    let mut problems = found.iter().map(|one| check(one, now));
    let first = problems.next().unwrap_or(Ok(()));
    if first.is_ok() || problems.any(|other| other.is_ok()) { Ok(()) } else { first }
}

fn check(certificate: &[u8], now: Timestamp) -> Result<(), String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Err("has a certificate that cannot be read".to_owned());
    };
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp());
    let validity = parsed.validity();
    match (at(validity.not_before), at(validity.not_after)) {
        (_, Ok(end)) if end < now => Err(format!("holds a certificate that expired on {end}")),
        (Ok(begin), _) if begin > now => {
            Err(format!("holds a certificate that is not valid before {begin}"))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

fn holds_none(text: &[u8], what: &str, mark: &str) -> String {
    if contains(text, "-----BEGIN ") {
        format!("holds no {what} (no -----{mark}-----)")
    } else {
        "is not in PEM (no -----BEGIN …-----)".to_owned()
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    contains(text, "BEGIN ENCRYPTED PRIVATE KEY") || contains(text, "Proc-Type: 4,ENCRYPTED")
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

/// The parser's own message quotes the line that it cannot read.
fn broken(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "is not whole: the END line is missing".to_owned(),
        _ => "is not valid PEM".to_owned(),
    }
}
