use store::{Item, Page, Query, Range};

use crate::keys;

/// Where the reading of a shard stands. It goes from the first row to the last and, if asked for in between, once
/// more: whatever fills the window, each key gets its turn.
pub(super) struct Scan {
    place: Place,
    wanted: bool,
    again: bool,
}

enum Place {
    Start,
    /// At this sort key; always between two keys. Empty: a read from the start is under way.
    From(String),
}

/// What to publish of a page.
pub(super) struct Chosen {
    pub(super) rows: Vec<Item>,
    /// Keys in flight or waiting.
    pub(super) passed_over: Vec<String>,
    /// Keys among the rows of which more rows wait, or may wait on the next page.
    pub(super) cut: Vec<String>,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { place: Place::Start, wanted: true, again: false }
    }

    /// There may be something new anywhere.
    pub(super) fn again(&mut self) {
        if self.wanted && !matches!(self.place, Place::Start) {
            self.again = true;
        }
        self.wanted = true;
    }

    /// Begins anew with the next read.
    pub(super) fn rewind(&mut self) {
        (self.place, self.wanted, self.again) = (Place::Start, true, false);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn query(&mut self, partition: String, limit: u32) -> Query {
        let mut query = Query::all(partition, limit);
        match &self.place {
            // From now on a wish for more is a wish for another round.
            Place::Start => self.place = Place::From(String::new()),
            Place::From(from) if from.is_empty() => {}
            Place::From(from) => query.range = Range::Between(from.clone(), keys::LAST.to_owned()),
        }
        query
    }

    /// Picks up to `room` rows, up to `per_key` of each key, of keys that are not busy, and moves on. The place never
    /// lies inside a key, because a key is always read from its first row.
    pub(super) fn choose(&mut self, page: Page, room: usize, per_key: usize, busy: impl Fn(&str) -> bool) -> Chosen {
        let mut chosen = Chosen { rows: Vec::new(), passed_over: Vec::new(), cut: Vec::new() };
        let mut current = Current::default();
        for item in page.items {
            let key = keys::key_of_row(&item.key.sort);
            if current.key != key {
                if chosen.rows.len() >= room {
                    // The next read begins with this key.
                    self.place = Place::From(format!("{key}#"));
                    return chosen;
                }
                current = Current { key: key.to_owned(), busy: busy(key), ..Current::default() };
                if current.busy {
                    chosen.passed_over.push(current.key.clone());
                }
            }
            if current.busy {
                continue;
            }
            if current.taken < per_key && chosen.rows.len() < room {
                current.taken += 1;
                chosen.rows.push(item);
            } else if !std::mem::replace(&mut current.cut, true) {
                chosen.cut.push(current.key.clone());
            }
        }
        if page.next.is_some() {
            if !current.busy && !current.cut {
                chosen.cut.push(current.key.clone());
            }
            self.place = Place::From(keys::after_key(&current.key));
        } else {
            (self.place, self.wanted) = (Place::Start, std::mem::take(&mut self.again));
        }
        chosen
    }
}

#[derive(Default)]
struct Current {
    key: String,
    taken: usize,
    busy: bool,
    cut: bool,
}
