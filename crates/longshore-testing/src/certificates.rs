//! Private certificates of a test: an authority, and certificates that it signs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// The user of a test's private broker. A client certificate names this user.
pub const USER: &str = "robust";

/// Where servers find their files in their containers.
pub const IN_CONTAINER: &str = "/tls";

/// An authority. Its own certificate is `{name}.pem` in the folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A server by the name of localhost, and by no other.
    Server,
    /// The same, but it has expired.
    ExpiredServer,
    /// A client, by the name of the broker's user.
    Client,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key in PEM.
    fn sign(&self, kind: Use) -> (String, String) {
        let names = if kind == Use::Client { vec![] } else { vec!["localhost".to_owned()] };
        let mut params = CertificateParams::new(names).unwrap();
        let end = if kind == Use::ExpiredServer { 2021 } else { 2120 };
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(end, 1, 1));
        let (name, purpose) = match kind {
            Use::Client => (USER, ExtendedKeyUsagePurpose::ClientAuth),
            Use::Server | Use::ExpiredServer => ("localhost", ExtendedKeyUsagePurpose::ServerAuth),
        };
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A folder with files in PEM. A server in a container may read it as any user.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder `name` within `parent`.
    pub fn new(parent: &Path, name: &str) -> Self {
        let path = parent.join(name);
        std::fs::create_dir_all(&path).unwrap();
        // The folder around it belongs to this user; its mount does not.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// A folder for a server: `ca.pem`, `server.pem` and `server.key`.
    pub fn of_server(parent: &Path, name: &str, authority: &Authority, kind: Use) -> Self {
        let folder = Self::new(parent, name);
        folder.put_authority("ca", authority);
        folder.put("server", authority, kind);
        folder
    }

    /// Writes the authority's own certificate.
    pub fn put_authority(&self, name: &str, authority: &Authority) {
        self.write(&format!("{name}.pem"), &authority.pem);
    }

    /// Writes a certificate and its key.
    pub fn put(&self, name: &str, authority: &Authority, kind: Use) {
        let (certificate, key) = authority.sign(kind);
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}.key"), &key);
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's path as a setting.
    pub fn setting(&self, name: &str) -> String {
        self.file(name).to_string_lossy().into_owned()
    }
}
