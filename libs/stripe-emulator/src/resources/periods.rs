use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The end of the period that begins at `start_s`, counted from the anchor: a subscription of January 31 renews on the
/// last of February and then on March 31.
pub(crate) fn next_turn_s(anchor_s: i64, start_s: i64, interval: &str, count: i64) -> i64 {
    let mut periods = 1_i64;
    // Periods differ in length by days at most, so a guess from the first one is at most one off per month counted.
    let first_s = end_s(anchor_s, interval, count).saturating_sub(anchor_s).max(1);
    if start_s > anchor_s {
        periods = ((start_s - anchor_s) / first_s).saturating_sub(1).max(1);
    }
    loop {
        let turn_s = end_s(anchor_s, interval, count.saturating_mul(periods));
        if turn_s > start_s {
            return turn_s;
        }
        periods += 1;
    }
}

/// Year and month of a moment.
pub(crate) fn month_of(at_s: i64) -> (i64, i64) {
    let moment = Timestamp::from_second(at_s).unwrap_or_default().to_zoned(TimeZone::UTC);
    (i64::from(moment.year()), i64::from(moment.month()))
}

/// The end of a billing period of `count` intervals that begins at `start_s`; a month from January 31 ends on the last
/// of February, as at Stripe.
pub(crate) fn end_s(start_s: i64, interval: &str, count: i64) -> i64 {
    let span = match interval {
        "day" => Span::new().try_days(count),
        "week" => Span::new().try_weeks(count),
        "year" => Span::new().try_years(count),
        _ => Span::new().try_months(count),
    };
    let start = Timestamp::from_second(start_s).map(|start| start.to_zoned(TimeZone::UTC));
    let end = span.and_then(|span| start.and_then(|start| start.checked_add(span)));
    // Only a clock set millennia ahead leaves the calendar.
    end.map_or(i64::MAX, |end| end.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar() {
        let january_31 = 1_738_281_600;
        assert_eq!(end_s(january_31, "month", 1) - january_31, 28 * 86_400);
        assert_eq!(end_s(january_31, "week", 2) - january_31, 14 * 86_400);
        assert_eq!(end_s(january_31, "year", 1) - january_31, 365 * 86_400);
        assert_eq!(end_s(i64::MAX, "day", 1), i64::MAX);
        let february_28 = january_31 + 28 * 86_400;
        let march_31 = next_turn_s(january_31, february_28, "month", 1);
        assert_eq!(march_31 - february_28, 31 * 86_400);
        assert_eq!(next_turn_s(january_31, january_31, "month", 1), february_28);
        assert_eq!(next_turn_s(january_31, january_31 - 5, "month", 1), february_28);
        let later = next_turn_s(january_31, january_31 + 3_650 * 86_400, "day", 1);
        assert_eq!(later, january_31 + 3_651 * 86_400);
    }
}
