use proptest::prelude::*;

use super::*;

fn masked(secret: &str, text: &str) -> String {
    String::from_utf8(Mask::new([secret]).apply(text.as_bytes().to_vec())).unwrap()
}

#[test]
fn a_secret_is_masked_wherever_it_stands_and_nothing_else_is() {
    assert_eq!(masked("hunter22", "a hunter22b hunter2"), "a [masked]b hunter2");
    assert_eq!(masked("hunter22", "hunter22hunter22"), "[masked][masked]");
    assert_eq!(masked("abc", "abc"), "abc", "too short to be told from other text");
    let none: [&str; 0] = [];
    assert_eq!(Mask::new(none).apply(b"x".to_vec()), b"x");
}

#[test]
fn a_secret_is_masked_as_json_writes_it_also_within_json() {
    let secret = "pa\"ss\\w\u{f6}rd\u{1f511}";
    let in_json = serde_json::json!({ "key": secret }).to_string();
    let in_in_json = serde_json::json!({ "log": in_json }).to_string();
    assert_eq!(masked(secret, &in_json), r#"{"key":"[masked]"}"#);
    assert_eq!(masked(secret, &in_in_json), r#"{"log":"{\"key\":\"[masked]\"}"}"#);
    let by_python = r#"{"key": "pa\"ss\\w\u00f6rd\ud83d\udd11"}"#;
    assert_eq!(masked(secret, by_python), r#"{"key": "[masked]"}"#);
}

#[test]
fn of_a_secret_of_several_lines_each_is_masked() {
    let key = "-----BEGIN KEY-----\nMIIEvgIBADANBg\nxyz\n-----END KEY-----\n";
    assert_eq!(masked(key, "MIIEvgIBADANBg"), "[masked]");
    assert_eq!(masked(key, "xyz"), "xyz");
    let in_json = serde_json::Value::from(key).to_string();
    assert_eq!(masked(key, &in_json), "\"[masked]\"");
}

#[test]
fn a_secret_is_masked_in_an_address_in_html_and_with_slashes_escaped() {
    let secret = "p/a ss&w\u{f6}rd=\"<%+'>";
    for written in [
        // Addresses: Python's quote and quote_plus, JavaScript, lower case, old browsers, twice.
        "p/a%20ss%26w%C3%B6rd%3D%22%3C%25%2B%27%3E",
        "p%2Fa+ss%26w%C3%B6rd%3D%22%3C%25%2B%27%3E",
        "p%2fa%20ss%26w%c3%b6rd%3d%22%3c%25%2b'%3e",
        "p%2Fa%20ss%26w%u00F6rd%3D%22%3C%25%2B%27%3E",
        "p%252Fa%2520ss%2526w%25C3%25B6rd%253D%2522%253C%2525%252B%2527%253E",
        // HTML and XML: named, decimal, hexadecimal.
        "p/a ss&amp;w\u{f6}rd=&quot;&lt;%+&#39;&gt;",
        "p/a ss&amp;w&#246;rd=&#34;&lt;%+&apos;&gt;",
        "p&#x2F;a ss&amp;w&#xF6;rd&#x3D;&quot;&lt;%+&#x27;&gt;",
        // JSON: with slashes escaped, in upper case, safe for HTML, every character.
        "p\\/a ss&w\\u00f6rd=\\\"<%+'>",
        "p/a ss&w\\u00F6rd=\\\"<%+'>",
        "p/a ss\\u0026w\u{f6}rd\\u003d\\\"\\u003C%+\\u0027\\u003E",
        "\\u0070\\u002f\\u0061\\u0020\\u0073\\u0073\\u0026\\u0077\\u00f6\\u0072\\u0064\\u003d\\u0022\
         \\u003c\\u0025\\u002b\\u0027\\u003e",
        // As Python, Rust and a shell show texts.
        "p/a ss&w\\xc3\\xb6rd=\"<%+\\'>",
        "p/a ss&w\\u{f6}rd=\\\"<%+'>",
        "p/a\\ ss\\&w\u{f6}rd=\\\"\\<%+\\'\\>",
        // An address within JSON.
        "p\\/a%20ss%26w%C3%B6rd%3D%22%3C%25%2B%27%3E",
    ] {
        assert_eq!(masked(secret, &format!("({written})")), "([masked])");
        assert_eq!(masked(secret, &written[..written.len() - 1]), written[..written.len() - 1]);
    }
}

#[test]
fn a_secret_that_looks_escaped_itself_is_masked_as_it_is_and_in_every_form() {
    let secret = "C:\\new%20dir\\u0041&amp;x";
    let in_json = serde_json::Value::from(secret).to_string();
    let in_address = "C%3A%5Cnew%2520dir%5Cu0041%26amp%3Bx";
    for written in [secret, &in_json[1..in_json.len() - 1], in_address] {
        assert_eq!(masked(secret, written), MASKED, "{written}");
    }
}

#[test]
fn what_only_looks_like_an_escape_is_left() {
    for text in [
        "100% of C:\\users\\x & y; a+b \\u12 \\ud83d \\ud83dx \\u{} \\x1 %4 %zz &#; &bogus; &",
        "\\",
        "%",
        "&amp",
    ] {
        assert_eq!(masked("hunter 22", text), text);
    }
    assert_eq!(masked("hunter 22", "%68unter+22 100%"), "[masked] 100%");
}

#[test]
fn a_number_that_was_given_as_a_text_is_masked_however_it_is_written_as_a_number() {
    let secret = "12345678901234567890";
    for written in ["1.2345678901234567e+19", "12345678901234567000", "1.2345678901234567E19"] {
        assert_eq!(masked(secret, &format!("key {written}.")), "key [masked].");
    }
    let mask = Mask::new([secret, "20261126", "hunter22"]);
    for number in [
        "12345678901234567890",
        "12345678901234567000.0",
        "0.12345678901234567e20",
        "-2.0261126e7",
        "202611.26E2",
        "5202611265",
    ] {
        assert!(mask.is_in_number(number), "{number}");
    }
    for number in ["20261127", "0", "22", "1e999", "1.2345e19"] {
        assert!(!mask.is_in_number(number), "{number}");
    }
    assert!(!Mask::new(["0000"]).is_in_number("0.0"));
}

#[test]
fn our_own_mark_is_no_secret() {
    let mask = Mask::new(["masked"]);
    let places = mask.spelled_in(b"[masked] unmasked");
    assert_eq!((places.len(), places.first()), (1, Some(&(11..17))));
}

#[test]
fn a_text_longer_than_is_looked_at_at_once_is_masked_as_a_whole() {
    let secret = "p\u{e4}ss/w\u{f6}rd";
    let escaped = "p\\u00e4ss\\/w\\u00f6rd";
    for before in (0..40).map(|less| MAX_PART_BYTES - less) {
        let text = format!("{}{escaped}{}", ".".repeat(before), "x".repeat(MAX_PART_BYTES + 7));
        let expected = text.replace(escaped, MASKED);
        assert!(masked(secret, &text) == expected, "{before}");
    }
}

#[test]
fn a_sentence_keeps_its_characters_around_a_secret() {
    let mask = Mask::new(["p\u{e4}ss"]);
    assert_eq!(mask.text("\u{fc}p\u{e4}ss\u{fc}".to_owned()), "\u{fc}[masked]\u{fc}");
    assert_eq!(Mask::default().text("p\u{e4}ss".to_owned()), "p\u{e4}ss");
}

#[test]
fn the_longer_of_two_secrets_is_masked_as_one() {
    let mask = Mask::new(["hunter", "hunter22"]);
    assert_eq!(mask.apply(b"hunter22".to_vec()), MASKED.as_bytes());
}

#[test]
fn a_text_is_held_back_from_where_a_secret_may_begin() {
    let end = |text: &str| Mask::new(["hunter22"]).safe_end(text.as_bytes());
    assert_eq!(end("pass: hunt"), "pass: ".len());
    assert_eq!(end("pass: hunter22"), "pass: hunter22".len());
    assert_eq!(end("pass: hunter22h"), "pass: hunter22".len());
    assert_eq!(end("pass: "), "pass: ".len());
    assert_eq!(Mask::new(["abcabc"]).safe_end(b"abcabc"), 6);
    let end = |text: &str| Mask::new(["a\"b c"]).safe_end(text.as_bytes());
    for open in ["a\\\"b", "a\\", "a\\u00", "a\\u0022b%2", "a&quo", "a%5C%22b+", "a\\\\\\\"b"] {
        assert_eq!(end(&format!("pass: {open}")), "pass: ".len(), "{open}");
    }
}

proptest! {
    #[test]
    fn wherever_a_text_is_cut_no_secret_is_shown(text in "[ab]{0,30}", cuts in 1usize..12) {
        let mask = Mask::new(["abba", "baaab"]);
        let (mut shown, mut kept) = (Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(cuts) {
            kept.extend_from_slice(piece);
            let rest = kept.split_off(mask.safe_end(&kept));
            shown.extend(mask.apply(std::mem::replace(&mut kept, rest)));
            shown.push(b'|');
        }
        shown.extend(mask.apply(kept));
        let shown = String::from_utf8(shown).unwrap().replace('|', "");
        for secret in ["abba", "baaab"] {
            prop_assert!(!shown.contains(secret), "{} in {}", secret, shown);
        }
    }

    #[test]
    fn however_a_secret_is_escaped_and_wherever_the_text_is_cut_it_is_not_shown(
        styles in proptest::collection::vec(0usize..9, 9), outer in 0usize..4, cuts in 1usize..60,
    ) {
        let secret = "p\u{e4}\"s/ %&\u{1f511}";
        let written: String = secret.chars().zip(&styles).map(|(c, style)| escaped(c, *style)).collect();
        let written = match outer {
            0 => written,
            1 => serde_json::Value::from(written.as_str()).to_string(),
            2 => by_byte(&written, &|byte| format!("%{byte:02x}")),
            _ => written.replace('&', "&amp;"),
        };
        let mask = Mask::new([secret, "other secret"]);
        let text = format!("[{written}]");
        let whole = String::from_utf8(mask.apply(text.clone().into_bytes())).unwrap();
        prop_assert_eq!(whole.replace('"', ""), "[[masked]]");
        let (mut shown, mut kept) = (Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(cuts) {
            kept.extend_from_slice(piece);
            let rest = kept.split_off(mask.safe_end(&kept));
            shown.extend(mask.apply(std::mem::replace(&mut kept, rest)));
        }
        shown.extend(mask.apply(kept));
        prop_assert_eq!(String::from_utf8(shown).unwrap().replace('"', ""), "[[masked]]");
    }
}

/// A character in one of the forms in which it may be written.
fn escaped(c: char, style: usize) -> String {
    let code = u32::from(c);
    let by_unit = |form: &dyn Fn(u16) -> String| -> String {
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| form(*unit)).collect()
    };
    match style {
        0 => by_unit(&|unit| format!("\\u{unit:04x}")),
        1 => by_unit(&|unit| format!("\\u{unit:04X}")),
        2 => by_byte(&c.to_string(), &|byte| format!("%{byte:02X}")),
        3 => by_byte(&c.to_string(), &|byte| format!("\\x{byte:02x}")),
        4 => format!("&#{code};"),
        5 => format!("&#x{code:X};"),
        6 => format!("\\u{{{code:x}}}"),
        7 => format!("\\U{code:08x}"),
        // As it is, where that is no escape's beginning.
        _ if "\"%&".contains(c) => format!("&#{code};"),
        _ => c.to_string(),
    }
}

fn by_byte(text: &str, form: &dyn Fn(u8) -> String) -> String {
    text.bytes().map(form).collect()
}
