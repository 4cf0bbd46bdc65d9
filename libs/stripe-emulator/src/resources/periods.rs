use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

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
    }
}
