//! Windows of time that quotas count in: minutes, days and months of UTC. Pure.

use std::ops::Range;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// A kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Minute,
    Day,
    Month,
}

impl Window {
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Day, Self::Month];

    /// Its name in limits: `month` in `relay_bytes_month`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The name of the limit of a meter in this window.
    pub(crate) fn limit(self, meter: &str) -> String {
        format!("{meter}_{}", self.name())
    }

    /// The window of a limit's name and its meter; `None` for limits of what is there at once (`peers`).
    pub(crate) fn of_limit(limit: &str) -> Option<(&str, Self)> {
        Self::ALL.into_iter().find_map(|window| {
            let meter = limit.strip_suffix(window.name())?.strip_suffix('_')?;
            (!meter.is_empty()).then_some((meter, window))
        })
    }

    /// How many past windows are kept beside the one of now.
    pub(crate) fn kept(self) -> usize {
        match self {
            // For what is told late.
            Self::Minute => 4,
            Self::Day => 34,
            Self::Month => 12,
        }
    }

    /// The window around a moment, Unix milliseconds: begin, and begin of the next.
    pub(crate) fn around(self, at_ms: u64) -> Range<u64> {
        match self {
            Self::Minute => fixed(at_ms, MINUTE_MS),
            Self::Day => fixed(at_ms, DAY_MS),
            Self::Month => month(at_ms),
        }
    }
}

fn fixed(at_ms: u64, length_ms: u64) -> Range<u64> {
    let start = at_ms / length_ms * length_ms;
    start..start.saturating_add(length_ms)
}

/// Walks the civil calendar from days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn month(at_ms: u64) -> Range<u64> {
    let shifted = at_ms / DAY_MS + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day ends the year.
    let from_march = (5 * day_of_year + 2) / 153;
    let year = year_of_era + era * 400;
    let begin = |from_march: u64| day_of(year, from_march) * DAY_MS;
    begin(from_march)..begin(from_march + 1)
}

/// Days since 1970 of the first of a month, counted from March of `year`.
fn day_of(year: u64, from_march: u64) -> u64 {
    let (year, from_march) = (year + from_march / 12, from_march % 12);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * from_march + 2) / 5;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        // Seconds from `date -u -d … +%s`.
        for (at, begin, end) in [
            (0, 0, 2_678_400),
            (1_709_164_800, 1_706_745_600, 1_709_251_200), // 2024-02-29
            (1_740_700_800, 1_738_368_000, 1_740_787_200), // 2025-02-28
            (1_735_689_599, 1_733_011_200, 1_735_689_600), // the last second of 2024
            (1_735_689_600, 1_735_689_600, 1_738_368_000), // the first of 2025
            (1_790_000_000, 1_788_220_800, 1_790_812_800), // 2026-09
            (4_107_542_399, 4_105_123_200, 4_107_542_400), // 2100 is no leap year
        ] {
            assert_eq!(Window::Month.around(at * 1_000), begin * 1_000..end * 1_000, "{at}");
        }
    }

    #[test]
    fn limits_name_their_meter_and_window() {
        assert_eq!(Window::of_limit("relay_bytes_month"), Some(("relay_bytes", Window::Month)));
        assert_eq!(Window::of_limit("tunnel_requests_minute"), Some(("tunnel_requests", Window::Minute)));
        for level in ["peers", "tunnels", "month", "_month", "monthly"] {
            assert_eq!(Window::of_limit(level), None, "{level}");
        }
        assert_eq!(Window::Day.limit("tunnel_bytes"), "tunnel_bytes_day");
    }

    proptest! {
        #[test]
        fn windows_tile_time(at_ms in 0u64..10_000_000_000_000) {
            for window in Window::ALL {
                let span = window.around(at_ms);
                prop_assert!(span.contains(&at_ms), "{window:?} {span:?}");
                prop_assert_eq!(window.around(span.start), span.clone());
                prop_assert_eq!(window.around(span.end - 1), span.clone());
                prop_assert_eq!(window.around(span.end).start, span.end);
            }
        }
    }
}
