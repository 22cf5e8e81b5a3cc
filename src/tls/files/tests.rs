use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

use super::*;

/// A folder with an authority, a certificate of it, and one that has expired.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let (authority, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        folder.write("ca.pem", &authority.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(authority, key);
        for (name, expired) in [("good", false), ("expired", true)] {
            let mut params = CertificateParams::new(vec!["worker".to_owned()]).unwrap();
            if expired {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            }
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &issuer).unwrap();
            folder.write(&format!("{name}.pem"), &signed.pem());
            folder.write(&format!("{name}.key"), &key.serialize_pem());
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ca(&self, name: &str) -> TlsFiles {
        TlsFiles { ca: Some(("CA", self.path(name))), identity: None }
    }

    fn identity(&self, cert: &str, key: &str) -> TlsFiles {
        let identity = Some([("CERT", self.path(cert)), ("KEY", self.path(key))]);
        TlsFiles { ca: Some(("CA", self.path("ca.pem"))), identity }
    }
}

fn problem(files: &TlsFiles) -> String {
    files.check().unwrap_err().to_string()
}

#[test]
fn good_files_make_a_configuration() {
    let folder = Folder::new();
    folder.ca("ca.pem").check().unwrap();
    folder.identity("good.pem", "good.key").check().unwrap();
    let config = folder.identity("good.pem", "good.key").client_config().unwrap();
    assert!(config.client_auth_cert_resolver.has_certs());
    TlsFiles::default().check().unwrap();
}

#[test]
fn each_mistake_is_one_sentence_with_setting_and_path_and_nothing_of_the_content() {
    let folder = Folder::new();
    folder.write("text.pem", "hush, this is no PEM");
    folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nhush");
    folder
        .write("garbage.pem", "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n");
    folder.write("bad.key", "-----BEGIN PRIVATE KEY-----\nhush!!\n-----END PRIVATE KEY-----\n");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVzaA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    folder.write("locked.key", locked);
    let cases = [
        (folder.ca("none.pem"), "CA", "none.pem", "cannot be read: No such file"),
        (folder.ca(""), "CA", "", "cannot be read: Is a directory"),
        (folder.ca("text.pem"), "CA", "text.pem", "is not in PEM"),
        (folder.ca("cut.pem"), "CA", "cut.pem", "the END line is missing"),
        (folder.ca("good.key"), "CA", "good.key", "holds no certificate"),
        (folder.ca("garbage.pem"), "CA", "garbage.pem", "a certificate that cannot be read"),
        (folder.ca("expired.pem"), "CA", "expired.pem", "expired on 2021-01-01T00:00:00Z"),
        (folder.identity("expired.pem", "expired.key"), "CERT", "expired.pem", "expired on 2021"),
        (folder.identity("good.pem", "ca.pem"), "KEY", "ca.pem", "holds no private key"),
        (folder.identity("good.pem", "bad.key"), "KEY", "bad.key", "is not valid PEM"),
        (folder.identity("good.pem", "locked.key"), "KEY", "locked.key", "without a passphrase"),
        (folder.identity("good.pem", "expired.key"), "KEY", "expired.key", "does not belong to"),
    ];
    for (files, variable, path, expected) in cases {
        let said = problem(&files);
        assert!(said.starts_with(&format!("{variable} is \"")), "{said}");
        assert!(said.contains(path) && said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("hush") && !said.contains("aHVzaA"), "{said}");
    }
}

#[test]
fn an_authority_that_expired_beside_one_that_holds_is_fine() {
    let folder = Folder::new();
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    folder.write("both.pem", &(read("expired.pem") + &read("ca.pem")));
    folder.ca("both.pem").check().unwrap();
}
