//! Fields that are numbers, and fields that say there is none.

/// What a number must be.
pub(crate) const NUMBER: &str = "a finite number";
/// What a number must be where it may be missing.
pub(crate) const NUMBER_OR_MISSING: &str = "a finite number, or nothing, NA, NaN, null or None";

/// Words for a value that is missing, in any case; Home Assistant has the last two.
const MISSING: [&str; 13] = ["", "na", "nan", "null", "none", "n/a", "#n/a", "<na>", "\\n", "?", "-", "unavailable", "unknown"];

/// A finite number.
pub(crate) fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A finite number, or 1 and 0 for `TRUE` and `FALSE` in any case.
pub(crate) fn finite_or_truth(text: &str) -> Option<f64> {
    let truth = ["false", "true"].iter().position(|word| text.eq_ignore_ascii_case(word));
    truth.map_or_else(|| finite(text), |truth| Some(truth as f64))
}

/// A finite number, or NaN for nothing and for the words that say so, in any case.
pub(crate) fn finite_or_missing(text: &str) -> Option<f64> {
    let missing = MISSING.iter().any(|word| text.eq_ignore_ascii_case(word));
    if missing { Some(f64::NAN) } else { finite(text) }
}

/// Whether a text that is no number here is one to its writer: with thousands told apart, a decimal comma, a currency or a share of a hundred.
pub(crate) fn is_nearly(text: &str) -> bool {
    let signs = |sign: char| sign.is_whitespace() || "$€£¥%+-−()".contains(sign);
    let inner = text.trim_matches(signs);
    let groups: Vec<&str> = inner.split([',', '.', '\'', '\u{a0}', '\u{202f}', ' ']).collect();
    let are_digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    // Between the first group and the last there are thousands; two groups are a number whatever stands between them.
    let whole = groups.len() < 3 || groups[1..groups.len() - 1].iter().all(|group| group.len() == 3) && groups[0].len() <= 3;
    are_digits && whole && finite(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_to_their_writer_are_told_from_words() {
        for text in ["12,377.18", "1.234.567", "1 234,5", "1'234.5", "$5", "45.6%", "(12.30)", "1243,03", "−5", "5 €"] {
            assert!(is_nearly(text), "{text}");
        }
        for text in ["", "5", "-1.5e3", "inf", "a", "A1", "10.0.0.1", "1.2.3", "12:30", "2024-01-02", "-", "%", "1,,2"] {
            assert!(!is_nearly(text), "{text}");
        }
        assert!(
            ["None", "N/A", "#N/A", "<NA>", "\\N", "", "unavailable"]
                .iter()
                .all(|text| finite_or_missing(text).is_some_and(f64::is_nan))
        );
    }
}
