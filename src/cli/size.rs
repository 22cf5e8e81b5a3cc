//! Sizes as people read them. Pure.

const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];

/// A number of bytes: whole bytes, or a number with one decimal and a unit. As in the settings, 1 KB is 1,024
/// bytes.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths, rounded down, so that no unit reaches 1,024.
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_short_whatever_it_is() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            ((1 << 20) - 1, "1023.9 KB"),
            (1 << 20, "1.0 MB"),
            (3 << 29, "1.5 GB"),
            (u64::MAX, "16383.9 PB"),
        ] {
            assert_eq!(size(bytes), said);
        }
    }
}
