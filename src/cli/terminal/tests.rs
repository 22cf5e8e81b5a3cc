use proptest::prelude::*;

use super::*;

/// What other terminals' escapes begin with, and pieces that matter between them.
const PIECES: [&str; 48] = [
    "\u{1b}",
    "\u{1b}[",
    "\u{1b}]52;c;cm0K\u{7}",
    "\u{1b}]0;owned\u{7}",
    "\u{1b}]8;;http://x\u{1b}\\",
    "\u{1b}P+q\u{1b}\\",
    "\u{1b}_G\u{1b}\\",
    "\u{1b}^x",
    "\u{1b}c",
    "\u{1b}7",
    "\u{1b}(0",
    "\u{1b}[2J",
    "\u{1b}[H",
    "\u{1b}[1A",
    "\u{1b}[?1049h",
    "\u{1b}[>4;2m",
    "\u{1b}[38;5;196m",
    "\u{1b}[1;31m",
    "\u{1b}[m",
    "\u{1b}[0m",
    "\u{1b}[8m",
    "\u{1b}[5m",
    "\u{1b}[38;2;1;2;3m",
    "\u{1b}[38;2;1m",
    "\u{1b}[4:3m",
    "\u{1b}[31",
    "\u{9b}31m",
    "\u{9d}0;x\u{9c}",
    "\u{90}",
    "\r",
    "\n",
    "\r\n",
    "\t",
    "\u{8}",
    "\u{7f}",
    "\0",
    "\u{7}",
    "\u{85}",
    "\u{202e}",
    "\u{2066}",
    "\u{2069}",
    "\u{2028}",
    "\u{2029}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{301}",
    "m",
];

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => "[ -~]{0,8}",
        1 => "[é日🎉ש]{1,3}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The text without its colours, which it checks, by means of its own: a line is left as it began.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    for line in text.split('\n') {
        let (mut rest, mut last) = (line, String::new());
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            let (parameters, after) = after.split_once('m').expect("a sequence ends");
            let is_list = parameters.bytes().all(|b| b.is_ascii_digit() || b";:".contains(&b));
            assert!(is_list, "{parameters:?} is no colour");
            last = parameters.to_owned();
            rest = after;
        }
        assert!(last.bytes().all(|b| b == b'0' || b == b';'), "{line:?} leaves its colours on");
        plain.push_str(rest);
        plain.push('\n');
    }
    plain.pop();
    plain
}

fn changes_others(c: char) -> bool {
    let bidi = ['\u{200e}', '\u{200f}', '\u{61c}'].contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c);
    bidi || ['\u{2028}', '\u{2029}', '\u{200b}', '\u{feff}'].contains(&c)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_terminal_is_sent_no_control_but_tabs_ends_of_lines_and_colours(text in texts()) {
        let plain = without_colours(&harmless(&text));
        prop_assert!(!plain.chars().any(|c| c.is_control() && c != '\t' && c != '\n'), "{plain:?}");
        prop_assert!(!plain.chars().any(changes_others), "{plain:?}");
        prop_assert_eq!(plain.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn what_was_made_harmless_stays_as_it_is(text in texts()) {
        let once = harmless(&text);
        prop_assert_eq!(harmless(&once), once);
    }

    #[test]
    fn a_part_of_a_line_has_no_control_at_all(text in texts()) {
        let line = one_line(&text);
        prop_assert!(!line.chars().any(|c| c.is_control() || changes_others(c)), "{line:?}");
    }

    #[test]
    fn a_json_document_means_what_it_meant(text in texts()) {
        let value = serde_json::json!({ &text: [&text] });
        for document in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = json(&document);
            prop_assert!(!shown.chars().any(|c| (c.is_control() && c != '\n') || changes_others(c)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value.clone());
        }
    }
}

#[test]
fn colours_stay_and_are_reset_at_the_end_of_each_line() {
    let text = "\u{1b}[1;38;5;196mred\nplain\u{1b}[38;2;1;2;3;4:3mrgb\u{1b}[m\n\u{1b}[97;100mx";
    let shown = "\u{1b}[1;38;5;196mred\u{1b}[0m\nplain\u{1b}[38;2;1;2;3;4:3mrgb\u{1b}[m\n\
                 \u{1b}[97;100mx\u{1b}[0m";
    assert_eq!(harmless(text), shown);
}

#[test]
fn what_hides_blinks_or_moves_is_shown_as_what_it_is() {
    for (text, shown) in [
        ("\u{1b}]52;c;cm0K\u{7}", r"\u{1b}]52;c;cm0K\u{7}"),
        ("a\u{1b}[2J\u{1b}[Hb", r"a\u{1b}[2J\u{1b}[Hb"),
        ("\u{1b}[8mhidden", r"\u{1b}[8mhidden"),
        ("\u{1b}[0;5mblinks", r"\u{1b}[0;5mblinks"),
        ("\u{1b}[38;5m", r"\u{1b}[38;5m"),
        ("\u{1b}[38;2;300;0;0m", r"\u{1b}[38;2;300;0;0m"),
        ("\u{9b}31m", r"\u{9b}31m"),
        ("10 %\r20 %\rend\r", r"10 %\r20 %\rend"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("bs\u{8}\u{8}", r"bs\u{8}\u{8}"),
        ("\u{202e}gnp.exe \u{2066}x\u{2069}\u{2028}", r"\u{202e}gnp.exe \u{2066}x\u{2069}\u{2028}"),
        ("ad\u{200d}min pay\u{200b}pal \u{3164}", r"ad\u{200d}min pay\u{200b}pal \u{3164}"),
        ("tags \u{e0041}", r"tags \u{e0041}"),
    ] {
        assert_eq!(harmless(text), shown);
    }
}

#[test]
fn languages_and_emoji_stay_readable() {
    for text in [
        "naïve, cafe\u{301}",
        "日本語",
        "می\u{200c}خواهم",
        "क\u{94d}\u{200d}ष",
        "👩\u{200d}💻 ❤\u{fe0f}",
        "שלום",
    ] {
        assert_eq!(harmless(text), text);
    }
    let tower = format!("e{}", "\u{301}".repeat(100));
    assert!(harmless(&tower).starts_with(&format!("e{}\\u{{301}}", "\u{301}".repeat(8))));
}

#[test]
fn a_part_of_a_line_begins_no_line_and_has_no_colours() {
    assert_eq!(one_line(" a\nb\r\n\tc\u{1b}[31md\u{2028}e\n"), r"a b   c\u{1b}[31md\u{2028}e");
}

#[test]
fn json_escapes_what_json_lets_through() {
    let document = "{\"a\": \"\u{7f}\u{9b}\u{202e}\u{e0041} é\"}\n";
    assert_eq!(json(document), "{\"a\": \"\\u007f\\u009b\\u202e\\udb40\\udc41 é\"}\n");
}
