use std::collections::{BTreeMap, HashMap, VecDeque};

/// Keeps the order of every key while keys run side by side: of one key, one item at a time is out; the next one
/// leaves when that is settled. Whoever fills it bounds how much waits.
pub(crate) struct Lanes<T> {
    lanes: HashMap<String, Lane<T>>,
    ready: VecDeque<String>,
    waiting: usize,
}

struct Lane<T> {
    /// The position of the item that is out, or that is to come again: nothing may overtake it.
    out: Option<u128>,
    waiting: BTreeMap<u128, T>,
    is_ready: bool,
}

impl<T> Lanes<T> {
    pub(crate) fn new() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), waiting: 0 }
    }

    /// How many items wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds an item at its position in its key. The same position again replaces what waits there; when that position
    /// is out, it is its redelivery.
    pub(crate) fn insert(&mut self, key: &str, position: u128, item: T) -> Option<T> {
        if !self.lanes.contains_key(key) {
            self.lanes.insert(key.to_owned(), Lane { out: None, waiting: BTreeMap::new(), is_ready: false });
        }
        let lane = self.lanes.get_mut(key).expect("it was just made");
        let old = lane.waiting.insert(position, item);
        self.waiting += usize::from(old.is_none());
        self.announce(key);
        old
    }

    /// Takes the next item that may leave and that `wanted` accepts; it is out from now on.
    pub(crate) fn take(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<(String, u128, T)> {
        let at = self
            .ready
            .iter()
            .position(|key| self.lanes.get(key).and_then(Lane::head).is_some_and(|(_, item)| wanted(item)))?;
        let key = self.ready.remove(at)?;
        let lane = self.lanes.get_mut(&key)?;
        lane.is_ready = false;
        let (position, _) = lane.head()?;
        let item = lane.waiting.remove(&position)?;
        self.waiting -= 1;
        lane.out = Some(position);
        Some((key, position, item))
    }

    /// The item at this position is done: the next one of its key may leave. Returns it if it waited to come again.
    pub(crate) fn settle(&mut self, key: &str, position: u128) -> Option<T> {
        let lane = self.lanes.get_mut(key)?;
        let waited = lane.waiting.remove(&position);
        self.waiting -= usize::from(waited.is_some());
        if lane.out == Some(position) {
            lane.out = None;
        }
        if lane.out.is_none() && lane.waiting.is_empty() {
            self.lanes.remove(key);
        } else {
            self.announce(key);
        }
        waited
    }

    /// Takes out everything of this key that waits behind the one that is out.
    pub(crate) fn take_waiting(&mut self, key: &str) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(key) else { return Vec::new() };
        let items: Vec<T> = std::mem::take(&mut lane.waiting).into_values().collect();
        self.waiting -= items.len();
        items
    }

    /// Takes out everything that waits and that `unwanted` accepts.
    pub(crate) fn remove_waiting(&mut self, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for lane in self.lanes.values_mut() {
            let (gone, kept) = std::mem::take(&mut lane.waiting)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, item)| unwanted(item));
            lane.waiting = kept;
            removed.extend(gone.into_values());
        }
        self.waiting -= removed.len();
        self.lanes.retain(|_, lane| lane.out.is_some() || !lane.waiting.is_empty());
        removed
    }

    /// Everything that waits.
    pub(crate) fn iter_waiting(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| lane.waiting.values())
    }

    /// Whether something may leave.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.iter().any(|key| self.lanes.get(key).and_then(Lane::head).is_some())
    }

    /// How many are known and not settled: those that wait and those that are out or to come again.
    pub(crate) fn unsettled(&self) -> usize {
        let extra =
            |lane: &Lane<T>| usize::from(lane.out.is_some_and(|position| !lane.waiting.contains_key(&position)));
        self.waiting + self.lanes.values().map(extra).sum::<usize>()
    }

    fn announce(&mut self, key: &str) {
        if let Some(lane) = self.lanes.get_mut(key)
            && !lane.is_ready
            && lane.head().is_some()
        {
            lane.is_ready = true;
            self.ready.push_back(key.to_owned());
            // Keys that were settled while they stood here leave their entry behind.
            if self.ready.len() > 2 * self.lanes.len() + 16 {
                let lanes = &self.lanes;
                self.ready.retain(|key| lanes.get(key).and_then(Lane::head).is_some());
            }
        }
    }
}

impl<T> Lane<T> {
    /// What may leave next: the redelivery of what is out, else the first that waits.
    fn head(&self) -> Option<(u128, &T)> {
        match self.out {
            Some(position) => self.waiting.get(&position).map(|item| (position, item)),
            None => self.waiting.iter().next().map(|(position, item)| (*position, item)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(lanes: &mut Lanes<&'static str>) -> Option<&'static str> {
        lanes.take(|_| true).map(|(_, _, item)| item)
    }

    #[test]
    fn a_key_has_one_item_out_and_other_keys_run_on() {
        let mut lanes = Lanes::new();
        for (key, position, item) in [("a", 1, "a1"), ("a", 2, "a2"), ("b", 3, "b3")] {
            lanes.insert(key, position, item);
        }
        assert_eq!((take(&mut lanes), take(&mut lanes), take(&mut lanes)), (Some("a1"), Some("b3"), None));
        assert_eq!(lanes.settle("a", 1), None);
        assert_eq!((take(&mut lanes), lanes.waiting()), (Some("a2"), 0));
    }

    #[test]
    fn a_redelivery_goes_before_what_waits_behind_it() {
        let mut lanes = Lanes::new();
        lanes.insert("a", 1, "a1");
        lanes.insert("a", 2, "a2");
        assert_eq!(take(&mut lanes), Some("a1"));
        lanes.insert("a", 1, "a1 again");
        assert_eq!((take(&mut lanes), take(&mut lanes)), (Some("a1 again"), None));
        lanes.settle("a", 1);
        assert_eq!(take(&mut lanes), Some("a2"));
    }

    #[test]
    fn settling_late_takes_back_the_redelivery() {
        let mut lanes = Lanes::new();
        lanes.insert("a", 1, "a1");
        take(&mut lanes);
        lanes.insert("a", 1, "a1 again");
        assert_eq!(lanes.settle("a", 1), Some("a1 again"));
        assert_eq!((take(&mut lanes), lanes.waiting()), (None, 0));
    }

    #[test]
    fn removed_items_leave_no_trace() {
        let mut lanes = Lanes::new();
        lanes.insert("a", 1, "a1");
        lanes.insert("b", 2, "b2");
        assert_eq!(lanes.remove_waiting(|item| *item == "a1"), ["a1"]);
        assert_eq!((take(&mut lanes), take(&mut lanes)), (Some("b2"), None));
    }
}
