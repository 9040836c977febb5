//! Fields that are numbers, and fields that say there is none.

/// What a number must be.
pub(crate) const NUMBER: &str = "a finite number";
/// What a number must be where it may be missing.
pub(crate) const NUMBER_OR_MISSING: &str = "a finite number, or nothing, NA, NaN or null";

/// A finite number.
pub(crate) fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A finite number, or 1 and 0 for `TRUE` and `FALSE` in any case.
pub(crate) fn finite_or_truth(text: &str) -> Option<f64> {
    let truth = ["false", "true"].iter().position(|word| text.eq_ignore_ascii_case(word));
    truth.map_or_else(|| finite(text), |truth| Some(truth as f64))
}

/// A finite number, or NaN for nothing, `NA`, `NaN` and `null` in any case.
pub(crate) fn finite_or_missing(text: &str) -> Option<f64> {
    let missing = ["", "na", "nan", "null"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if missing { Some(f64::NAN) } else { finite(text) }
}
