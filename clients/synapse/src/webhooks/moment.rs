//! Points in time as people write and read them.

use anyhow::Context;
use jiff::Timestamp;

/// Unix milliseconds of `2026-01-31T12:00:00Z`, or of `2h` (so long before `now_ms`).
pub(super) fn parse(field: &str, text: &str, now_ms: u64) -> anyhow::Result<u64> {
    let ago = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let unit_ms: u64 = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit_ms)
    });
    if let Some(ago_ms) = ago {
        return Ok(now_ms.saturating_sub(ago_ms));
    }
    let time = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    time.with_context(|| format!("{field}: {text:?} is no time; write 2026-01-31T12:00:00Z, or 90s, 30m, 2h, 7d"))
}

/// A point in time to the second.
pub(super) fn text(ms: Option<u64>) -> String {
    let time = ms.and_then(|ms| i64::try_from(ms / 1_000).ok()).and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_so_long_ago() {
        let now_ms = 1_790_000_000_000;
        let at = |text| parse("--since", text, now_ms).ok();
        assert_eq!(at("2026-09-21T14:13:20Z"), Some(now_ms));
        assert_eq!((at("90s"), at("2h")), (Some(now_ms - 90_000), Some(now_ms - 7_200_000)));
        assert_eq!(at("99999999999d"), Some(0));
        for bad in ["", "h", "yesterday", "2x", "-1h", "2026-09-21"] {
            let error = parse("--since", bad, now_ms).expect_err(bad).to_string();
            assert!(error.starts_with("--since: "), "{error}");
        }
        assert_eq!((text(Some(now_ms)).as_str(), text(None).as_str()), ("2026-09-21T14:13:20Z", "-"));
    }
}
