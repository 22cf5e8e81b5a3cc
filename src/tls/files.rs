//! The files that settings name, and the client configuration that is made from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, Error, RootCertStore};

use super::pem;

/// Files in PEM that settings name, each with the name of its setting for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust, instead of the system's.
    pub ca: Option<(&'static str, PathBuf)>,
    /// The client certificate with its intermediates, and its key.
    pub identity: Option<[(&'static str, PathBuf); 2]>,
}

/// Why no configuration can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFilesError {
    /// A file cannot be used.
    #[error("{variable} is {path:?}, which {problem}")]
    File {
        /// The setting.
        variable: &'static str,
        /// The path that it names.
        path: PathBuf,
        /// What is wrong with the file. Never holds any of its content.
        problem: String,
    },
    /// The system has no authorities.
    #[error(
        "this system has no certificate authorities to trust{}; \
         install them (ca-certificates), or name a file of your own",
        why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    NoSystemRoots {
        /// Why, if the system said.
        why: Option<String>,
    },
    /// The cryptography fails. No setting can fix it.
    #[error("TLS cannot be set up: {0}")]
    Unusable(String),
}

impl TlsFiles {
    /// The setting of the first file that is named.
    #[must_use]
    pub fn first_variable(&self) -> Option<&'static str> {
        let identity = self.identity.iter().flatten();
        self.ca.iter().chain(identity).map(|(variable, _)| *variable).next()
    }

    /// Reads the files that are named, and says what is wrong with the first that cannot be used.
    ///
    /// # Errors
    /// [`TlsFilesError::File`].
    pub fn check(&self) -> Result<(), TlsFilesError> {
        if self.ca.is_some() {
            self.roots()?;
        }
        if self.identity.is_some() {
            self.client_config()?;
        }
        Ok(())
    }

    /// A configuration with the files as they are now. It reads files, so do not call it on a
    /// thread of the runtime.
    ///
    /// # Errors
    /// See [`TlsFilesError`].
    pub fn client_config(&self) -> Result<ClientConfig, TlsFilesError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFilesError::Unusable(error.to_string()))?
            .with_root_certificates(self.roots()?);
        let Some([(cert_variable, cert), (key_variable, key)]) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let refuse = |variable: &'static str, path: &Path| {
            let path = path.to_owned();
            move |problem: String| TlsFilesError::File { variable, path, problem }
        };
        let chain = pem::certificates(cert).map_err(refuse(cert_variable, cert))?;
        pem::check_first(&chain).map_err(refuse(cert_variable, cert))?;
        let private = pem::key(key).map_err(refuse(key_variable, key))?;
        builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| refuse(key_variable, key)(mismatch(&error, cert_variable)))
    }

    /// Whom to trust.
    fn roots(&self) -> Result<RootCertStore, TlsFilesError> {
        let Some((variable, path)) = &self.ca else {
            return system_roots();
        };
        let refuse =
            |problem: String| TlsFilesError::File { variable, path: path.clone(), problem };
        let found = pem::certificates(path).map_err(refuse)?;
        pem::check_any(&found).map_err(refuse)?;
        let mut roots = RootCertStore::empty();
        for certificate in found {
            roots
                .add(certificate)
                .map_err(|_| refuse("has a certificate that cannot be read".to_owned()))?;
        }
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore, TlsFilesError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // The system's bundles have very old certificates that no library reads any more.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        return Err(TlsFilesError::NoSystemRoots { why });
    }
    Ok(roots)
}

/// The authorities that this system trusts, in PEM, for a program that cannot see the system's files;
/// empty where there are none.
#[must_use]
pub fn system_authorities() -> String {
    let found = rustls_native_certs::load_native_certs();
    found.certs.iter().map(|certificate| pem::written(certificate)).collect()
}

/// Why a certificate and a key do not make an identity.
fn mismatch(error: &Error, cert_variable: &str) -> String {
    match error {
        Error::InconsistentKeys(_) => {
            format!("does not belong to the certificate in {cert_variable}")
        }
        _ => {
            "holds a key of a kind that cannot be used: RSA, ECDSA or Ed25519 is needed".to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
