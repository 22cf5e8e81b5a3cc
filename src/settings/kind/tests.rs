use proptest::prelude::*;

use super::*;

#[test]
fn each_kind_takes_and_refuses() {
    let networks = Kind::Choices(&["host", "none"]);
    let delays = Kind::Delays { max: 100, count: 3 };
    let decimal = Kind::Decimal { min: 0.01, max: 8.0 };
    let cases: &[(Kind, &[&str], &[&str])] = &[
        (Kind::Text, &["x", "a b"], &["", "a\nb"]),
        (
            Kind::AmqpUrl,
            &["amqp://u:p@h:5672/%2f", "amqps://h", "amqp://u@h/v"],
            &["", "h:5672", "http://h", "amqp://", "amqp:///v", "amqp://h:x"],
        ),
        (
            Kind::Endpoint,
            &["s3:9000", "http://s3:9000", "https://s3.example.com/s3", "10.0.0.1:80", "s3"],
            &["", "ftp://s3", "http://", "http://u:p@s3", "http://s3/?x=1", "s 3"],
        ),
        (
            Kind::Engine,
            &["unix:///var/run/docker.sock", "tcp://h:2375", "http://h:2375"],
            &["", "/var/run/docker.sock", "unix://x", "ssh://h", "npipe://x"],
        ),
        (Kind::Name, &["a", "Test-1_x"], &["", "-a", "a.b", "a/b", "ä"]),
        (Kind::Bucket, &["abc", "a.b-c"], &["ab", "Abc", "-bc", "a_bc", "abc-", "a..b"]),
        (Kind::Image, &["python:3.11-slim", "r.io/a/b@sha256:00"], &["", "a b"]),
        (Kind::Directory, &["/tmp/runtime"], &["", "tmp", "/"]),
        (
            Kind::Users,
            &["0", "65532:65532", "65536-99999"],
            &["", "nobody", "1:", ":1", "-1", "1:2:3", "4294967296", "0-5000", "1-1000", "9-1"],
        ),
        (Kind::Address, &["127.0.0.1:0", "[::]:80"], &["", "localhost:80", "127.0.0.1"]),
        (
            Kind::LogFilter,
            &["info", "OFF", "longshore=debug,lapin=warn", "info,longshore::worker=trace"],
            &["", "verbose", "longshore", "longshore=loud", "3", "info,,"],
        ),
        (Kind::Bool, &["true", "False", "1", "no", "ON"], &["", "maybe", "2"]),
        (count(1, 9), &["1", "9", "007"], &["", "0", "10", "-1", "+1", "1.5", "1e3", " 1"]),
        (decimal, &["0.5", "8", "1e0"], &["", "0", "9", "NaN", "inf", "x"]),
        (Kind::Prefixes { count: 2 }, &["replies.", "a., b."], &["", "a,", ",", "a,b,c", "a\nb"]),
        (delays, &["5", "5, 30,100"], &["", "0", "5,5", "30,5", "101", "1,2,3,4", "5,"]),
        (Kind::Choice(&["a", "b"]), &["a"], &["", "A", "a,b"]),
        (networks, &["host", "host, none"], &["", "host,", "bridge"]),
    ];
    for (kind, good, bad) in cases {
        for text in *good {
            assert!(kind.allows(text), "{text:?} is refused, though {}", kind.allowed());
        }
        for text in *bad {
            assert!(!kind.allows(text), "{text:?} is taken, though {}", kind.allowed());
        }
    }
}

#[test]
fn a_password_is_never_shown() {
    assert_eq!(mask_url("amqp://me:secret@h:5672/v"), "amqp://me:***@h:5672/v");
    assert_eq!(mask_url("amqp://me:se@cret@h/v"), "amqp://me:***@h/v");
    assert_eq!(mask_url("amqp://h/v"), "amqp://h/v");
    assert_eq!(mask_url("me:secret@h"), "***");
    assert_eq!(Kind::Secret.shown("secret"), "***");
    for kind in [Kind::Endpoint, Kind::Engine] {
        assert_eq!(kind.shown("http://me:secret@h:1"), "http://me:***@h:1");
        assert_eq!(kind.shown("me:secret@h:1"), "***");
        assert_eq!(kind.shown("unix:///run/docker.sock"), "unix:///run/docker.sock");
    }
}

proptest! {
    #[test]
    fn no_value_makes_a_check_panic(text in ".{0,80}") {
        for setting in crate::settings::table::ALL {
            let _ = setting.kind.allows(&text);
        }
    }
}
