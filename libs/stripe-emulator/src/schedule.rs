//! Which objects wait for which moment, so that the next one is found without looking at them all.

use std::collections::{BTreeMap, HashMap};

use crate::kind::Kind;

/// Where an object waits: its account, its test clock, its moment, and its own number.
type Place = (String, Option<String>, i64, u64);

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    waiting: BTreeMap<Place, (Kind, String)>,
    place_of: HashMap<u64, Place>,
}

impl Schedule {
    /// Says when the object with that number is due; `None` takes it off.
    pub(crate) fn set(&mut self, number: u64, due: Option<(&str, Option<&str>, i64)>, kind: Kind, id: &str) {
        self.forget(number);
        if let Some((account, clock, due_s)) = due {
            let place = (account.to_owned(), clock.map(str::to_owned), due_s, number);
            self.waiting.insert(place.clone(), (kind, id.to_owned()));
            self.place_of.insert(number, place);
        }
    }

    /// Takes an object off.
    pub(crate) fn forget(&mut self, number: u64) {
        if let Some(place) = self.place_of.remove(&number) {
            self.waiting.remove(&place);
        }
    }

    /// What is due first on an account, on a test clock or (`None`) on the emulator's own time.
    pub(crate) fn earliest(&self, account: &str, clock: Option<&str>) -> Option<(i64, Kind, String)> {
        let from = (account.to_owned(), clock.map(str::to_owned), i64::MIN, 0);
        let (place, (kind, id)) = self.waiting.range(from..).next()?;
        (place.0 == account && place.1.as_deref() == clock).then(|| (place.2, *kind, id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_each_timeline_is_found() {
        let mut schedule = Schedule::default();
        let mut set = |number, account, clock, due_s| {
            schedule.set(number, Some((account, clock, due_s)), Kind::Subscription, &format!("sub_{number}"));
        };
        set(1, "", None, 50);
        set(2, "", None, 40);
        set(3, "", Some("clock_1"), 10);
        set(4, "acct_1", None, 5);
        set(2, "", None, 60);
        let found = |schedule: &Schedule, account, clock| {
            schedule.earliest(account, clock).map(|(due_s, _, id)| (due_s, id.to_owned()))
        };
        assert_eq!(found(&schedule, "", None), Some((50, "sub_1".to_owned())));
        assert_eq!(found(&schedule, "", Some("clock_1")), Some((10, "sub_3".to_owned())));
        assert_eq!(found(&schedule, "", Some("clock_0")), None);
        assert_eq!(found(&schedule, "acct_1", None), Some((5, "sub_4".to_owned())));
        schedule.forget(1);
        schedule.set(2, None, Kind::Subscription, "sub_2");
        assert_eq!(found(&schedule, "", None), None);
    }
}
