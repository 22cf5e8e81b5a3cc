//! Why a handshake failed, found in the errors of the library that made it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// What is wrong between us and a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsProblem {
    /// No authority that we trust has signed its certificate.
    UnknownAuthority,
    /// Its certificate has expired: when, if known.
    Expired(Option<Timestamp>),
    /// Its certificate is not valid yet: from when, if known.
    NotYet(Option<Timestamp>),
    /// Its certificate is for other names.
    WrongName {
        /// The name by which we know it, if known.
        asked: Option<String>,
        /// The names in its certificate.
        has: Vec<String>,
    },
    /// Its certificate is bad for another reason.
    BadCertificate(String),
    /// It wants a client certificate, and got none.
    WantsCertificate,
    /// It does not accept our certificate: its message.
    RefusedCertificate(String),
    /// It hung up right after the handshake. The value says whether we had sent a certificate.
    HungUp(bool),
    /// The server there does not use TLS.
    NotTls,
    /// The server there uses TLS, and we did not.
    SpeaksTls,
    /// Anything else.
    Other(String),
}

/// The names of the settings of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Where the peer is.
    pub address: &'static str,
    /// How to write an address with TLS.
    pub with_tls: &'static str,
    /// Whom to trust.
    pub ca: &'static str,
    /// How to identify ourselves, if there is a way.
    pub identity: Option<&'static str>,
}

impl TlsProblem {
    /// The problem among the causes of an error, if TLS was the cause.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(of_rustls(error));
            }
            // An io::Error returns the causes of the error that it wraps, but not that error.
            if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                cause = Some(inner);
                continue;
            }
            cause = error.source();
        }
        None
    }

    /// What may help, as a separate sentence.
    #[must_use]
    pub fn remedy(&self, names: &Names) -> String {
        let Names { address, with_tls, ca, identity } = names;
        match self {
            Self::UnknownAuthority => format!(
                "set {ca} to the certificate of the authority that signed the server's, in PEM"
            ),
            Self::Expired(_) | Self::BadCertificate(_) => {
                "give the server a new certificate".to_owned()
            }
            Self::NotYet(_) => "are the clocks of both machines right?".to_owned(),
            Self::WrongName { .. } => format!(
                "use a name in {address} that stands in the server's certificate, or give the server \
                 a certificate with that name"
            ),
            Self::WantsCertificate | Self::HungUp(false) => match identity {
                Some(settings) => format!("set {settings}"),
                None => "let the server ask for no client certificate".to_owned(),
            },
            Self::RefusedCertificate(_) | Self::HungUp(true) => {
                "does the server trust the authority that signed our certificate, and is that one for \
                 client authentication?"
                    .to_owned()
            }
            Self::NotTls => {
                format!("name the port of TLS in {address}, or use no TLS where there is none")
            }
            Self::SpeaksTls => format!("write {with_tls} in {address}"),
            Self::Other(_) => format!("is {address} right, and does that server speak TLS 1.2 or 1.3?"),
        }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAuthority => {
                f.write_str("its certificate is signed by an authority that is not trusted here")
            }
            Self::Expired(Some(end)) => write!(f, "its certificate expired on {end}"),
            Self::Expired(None) => f.write_str("its certificate has expired"),
            Self::NotYet(Some(begin)) => write!(f, "its certificate is not valid before {begin}"),
            Self::NotYet(None) => f.write_str("its certificate is not valid yet"),
            Self::WrongName { asked, has } => {
                let names = if has.is_empty() { "no name".to_owned() } else { has.join(", ") };
                match asked {
                    Some(asked) => write!(f, "its certificate is for {names}, not for {asked}"),
                    None => write!(f, "its certificate is for {names}, not for the name we asked"),
                }
            }
            Self::BadCertificate(why) => write!(f, "its certificate cannot be used: {why}"),
            Self::WantsCertificate => f.write_str("it wants a client certificate, and got none"),
            Self::RefusedCertificate(why) => {
                write!(f, "it does not accept the client certificate ({why})")
            }
            Self::HungUp(false) => f.write_str(
                "it hung up right after the handshake, as one does that wants a client certificate",
            ),
            Self::HungUp(true) => f.write_str(
                "it hung up right after the handshake, as one does that refuses the client certificate",
            ),
            Self::NotTls => f.write_str("what answers there does not speak TLS"),
            Self::SpeaksTls => f.write_str("it wants TLS there, and was spoken to without"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

fn of_rustls(error: &Error) -> TlsProblem {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => TlsProblem::NotTls,
        Error::AlertReceived(AlertDescription::CertificateRequired) => TlsProblem::WantsCertificate,
        Error::AlertReceived(alert) if is_about_ours(*alert) => {
            TlsProblem::RefusedCertificate(format!("{alert:?}"))
        }
        other => TlsProblem::Other(other.to_string()),
    }
}

/// An alert about a certificate is about the certificate of the side that receives the alert.
fn is_about_ours(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

fn of_certificate(error: &CertificateError) -> TlsProblem {
    let at = |time: &UnixTime| Timestamp::from_second(time.as_secs().try_into().ok()?).ok();
    match error {
        CertificateError::UnknownIssuer => TlsProblem::UnknownAuthority,
        CertificateError::Expired => TlsProblem::Expired(None),
        CertificateError::ExpiredContext { not_after, .. } => TlsProblem::Expired(at(not_after)),
        CertificateError::NotValidYet => TlsProblem::NotYet(None),
        CertificateError::NotValidYetContext { not_before, .. } => {
            TlsProblem::NotYet(at(not_before))
        }
        CertificateError::NotValidForName => TlsProblem::WrongName { asked: None, has: Vec::new() },
        CertificateError::NotValidForNameContext { expected, presented } => TlsProblem::WrongName {
            asked: Some(expected.to_str().into_owned()),
            has: presented.iter().map(|name| bare(name).to_owned()).collect(),
        },
        other => TlsProblem::BadCertificate(other.to_string()),
    }
}

/// `DnsName("mq")` and `IpAddress(127.0.0.1)` without the text around the name.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::InvalidMessage;
    use rustls::pki_types::ServerName;

    use super::*;

    const NAMES: Names = Names {
        address: "AMQP_URL",
        with_tls: "amqps://",
        ca: "AMQP_CA_FILE",
        identity: Some("AMQP_CLIENT_CERT_FILE and AMQP_CLIENT_KEY_FILE"),
    };

    /// As the libraries wrap it: an `io::Error` within another.
    fn wrapped(error: Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn a_problem_is_found_below_whatever_wraps_it_and_told_with_what_mends_it() {
        let unix = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expected = ServerName::try_from("mq.example").unwrap();
        let presented = vec!["DnsName(\"other\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let cases: [(Error, &str, &str); 7] = [
            (CertificateError::UnknownIssuer.into(), "signed by an authority", "set AMQP_CA_FILE"),
            (
                CertificateError::ExpiredContext { time: unix(9), not_after: unix(5) }.into(),
                "expired on 1970-01-01T00:00:05Z",
                "new certificate",
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented }.into(),
                "is for other, 127.0.0.1, not for mq.example",
                "in AMQP_URL",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "wants a client certificate",
                "set AMQP_CLIENT_CERT_FILE",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "does not accept the client certificate (UnknownCA)",
                "does the server trust",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "does not speak TLS",
                "port of TLS",
            ),
            (
                CertificateError::BadSignature.into(),
                "cannot be used: BadSignature",
                "new certificate",
            ),
        ];
        for (error, said, remedy) in cases {
            let problem = TlsProblem::of(&wrapped(error)).unwrap();
            assert!(problem.to_string().contains(said), "{problem}");
            assert!(problem.remedy(&NAMES).contains(remedy), "{}", problem.remedy(&NAMES));
        }
    }

    #[test]
    fn another_error_is_no_problem_of_tls() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(TlsProblem::of(&refused), None);
        assert_eq!(TlsProblem::of(&io::Error::other(refused)), None);
    }
}
