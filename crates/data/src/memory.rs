//! A budget in bytes, as a person writes it.

use serde::{Deserialize, Serialize};

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A number of bytes: `512 MiB`, `1.5 GiB`, `100000 B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("expected a size as `512 MiB` or `1.5 GiB`, found `{text}`");
        let end = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
        let (number, unit) = (text[..end].trim(), &text[end..]);
        let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size).or((unit == "B").then_some(1));
        let number: f64 = number.parse().map_err(|_| bad())?;
        let bytes = number * size.ok_or_else(bad)? as f64;
        // Beyond this a number in f64 is no whole number of bytes.
        if (0.0..=(1u64 << 53) as f64).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(bad()) }
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = UNITS.iter().rev().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        match whole {
            Some((name, size)) => write!(formatter, "{} {name}", self.0 / size),
            None => write!(formatter, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("1 GiB", 1 << 30, "1 GiB"),
            ("1.5GiB", 3 << 29, "1536 MiB"),
            ("512 MiB", 512 << 20, "512 MiB"),
            ("0 B", 0, "0 B"),
            ("1000 B", 1000, "1000 B"),
            ("2048 B", 2048, "2 KiB"),
        ] {
            let parsed = Bytes::try_from(text.to_string()).expect(text);
            assert_eq!((parsed, parsed.to_string()), (Bytes(bytes), shown.to_string()));
        }
        for text in ["", "1", "1 GB", "-1 MiB", "many MiB", "nan B", "1e30 TiB", "GiB"] {
            let error = Bytes::try_from(text.to_string()).expect_err(text);
            assert_eq!(error, format!("expected a size as `512 MiB` or `1.5 GiB`, found `{text}`"));
        }
    }
}
