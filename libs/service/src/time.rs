/// RFC 3339 with milliseconds, UTC.
pub(crate) fn rfc3339(now_ms: u64) -> String {
    let moment = i64::try_from(now_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", moment.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(1_790_000_000_007), "2026-09-21T14:13:20.007Z");
        assert!(!rfc3339(u64::MAX).is_empty());
    }
}
