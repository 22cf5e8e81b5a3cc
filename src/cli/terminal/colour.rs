//! Colours: the sequences of a terminal (SGR) that change how text looks and leave it readable.

/// The longest list of parameters. Real ones have a third of that.
const MAX_PARAMETER_BYTES: usize = 64;

/// A sequence that only colours.
pub(super) struct Colour<'t> {
    pub(super) text: &'t str,
    /// Whether it ends all colours.
    pub(super) is_reset: bool,
}

/// The sequence at the beginning of a text, if it only colours.
pub(super) fn at_start(text: &str) -> Option<Colour<'_>> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let is_parameter = |byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    let length =
        parameters.bytes().take(MAX_PARAMETER_BYTES).take_while(|b| is_parameter(b)).count();
    let parameters = &parameters[..length];
    let length = "\u{1b}[".len() + length + "m".len();
    let is_whole = text.as_bytes().get(length - 1) == Some(&b'm');
    if !is_whole || !only_colours(parameters) {
        return None;
    }
    let is_reset = parameters.bytes().all(|byte| byte == b'0' || byte == b';');
    Some(Colour { text: &text[..length], is_reset })
}

/// Whether parameters change only colours, weight, slant and lines. Blinking, hiding and other
/// fonts do not pass.
fn only_colours(parameters: &str) -> bool {
    let mut rest = parameters.split(';');
    while let Some(parameter) = rest.next() {
        if parameter.contains(':') {
            // One parameter with parts of its own, such as a colour or the kind of a line.
            let mut parts = parameter.split(':');
            let is_known = matches!(parts.next(), Some("4" | "38" | "48" | "58"));
            if !is_known || !parts.all(|part| part.is_empty() || is_byte(part)) {
                return false;
            }
            continue;
        }
        let Some(number) = number(parameter) else { return false };
        let is_known = match number {
            38 | 48 | 58 => match rest.next() {
                Some("5") => are_bytes(rest.by_ref().take(1), 1),
                Some("2") => are_bytes(rest.by_ref().take(3), 3),
                _ => false,
            },
            0..=4
            | 7
            | 9
            | 21..=25
            | 27
            | 29..=37
            | 39..=47
            | 49
            | 53
            | 55
            | 59
            | 90..=97
            | 100..=107 => true,
            _ => false,
        };
        if !is_known {
            return false;
        }
    }
    true
}

/// A parameter; one that is left out is 0.
fn number(parameter: &str) -> Option<u16> {
    if parameter.is_empty() { Some(0) } else { parameter.parse().ok() }
}

fn is_byte(part: &str) -> bool {
    part.parse::<u8>().is_ok()
}

fn are_bytes<'t>(parts: impl Iterator<Item = &'t str>, count: usize) -> bool {
    parts.filter(|part| is_byte(part)).count() == count
}
