//! RFC 3339 ↔ Unix milliseconds, without a detour through a calendar library for the form that we write ourselves.

/// The last millisecond that RFC 3339 can write.
pub(super) const MAX_MS: u64 = 253_402_300_799_999;

/// `2026-01-31T12:00:00.000Z`. Later than the year 9999 is written as its end; [`super::check`] refuses that before.
pub(super) fn format(ms: u64) -> String {
    let ms = ms.min(MAX_MS);
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    put(&mut out[0..4], year);
    put(&mut out[5..7], month);
    put(&mut out[8..10], day);
    put(&mut out[11..13], seconds / 3600);
    put(&mut out[14..16], seconds / 60 % 60);
    put(&mut out[17..19], seconds % 60);
    put(&mut out[20..23], millis);
    out.iter().map(|byte| char::from(*byte)).collect()
}

/// Any RFC 3339 time from 1970 to 9999.
pub(super) fn parse(text: &str) -> Option<u64> {
    if let Some(ms) = parse_own(text.as_bytes()) {
        return Some(ms);
    }
    // jiff reads more than RFC 3339 does; keep its reach to what a date, a time and an offset look like.
    let bytes = text.as_bytes();
    if !(20..=40).contains(&bytes.len()) || bytes[4] != b'-' || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().filter(|ms| *ms <= MAX_MS)
}

/// The one form that we write: UTC with milliseconds.
fn parse_own(text: &[u8]) -> Option<u64> {
    if text.len() != 24 || text[23] != b'Z' || text[19] != b'.' {
        return None;
    }
    if (text[4], text[7], text[10], text[13], text[16]) != (b'-', b'-', b'T', b':', b':') {
        return None;
    }
    let (year, month, day) = (get(&text[0..4])?, get(&text[5..7])?, get(&text[8..10])?);
    let (hour, minute, second) = (get(&text[11..13])?, get(&text[14..16])?, get(&text[17..19])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=longest).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + get(&text[20..23])?)
}

fn put(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn get(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
}

/// Days since 1970 → year, month, day (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let y = year - u64::from(month <= 2);
    let (era, yoe) = (y / 400, y % 400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + day - 1;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_moments_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(parse("2026-01-31T12:00:00+02:00"), parse("2026-01-31T10:00:00.000Z"));
        assert_eq!(parse("2026-01-31T12:00:00.123456789Z"), parse("2026-01-31T12:00:00.123Z"));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "yesterday",
            "2026-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-31T24:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-01-31T12:00:00.000",
            "2026-01-31",
            "1767225599",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_millisecond_comes_back_and_agrees_with_jiff(ms in 0..=MAX_MS) {
            let text = format(ms);
            prop_assert_eq!(parse(&text), Some(ms));
            let jiff: jiff::Timestamp = text.parse().expect("jiff reads it");
            prop_assert_eq!(jiff.as_millisecond(), i64::try_from(ms).expect("it fits"));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,45}") {
            let _ = parse(&text);
        }
    }
}
