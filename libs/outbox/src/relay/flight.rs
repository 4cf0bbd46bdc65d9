use std::sync::Arc;

use store::Key;

/// A published row on its way out of the outbox.
pub(super) struct Row {
    pub(super) key: Arc<str>,
    pub(super) at: Key,
}

/// The rows of one key that are published and not yet gone, in order.
#[derive(Default)]
pub(super) struct Flight {
    rows: Vec<(Option<Key>, State)>,
    /// Rows from the first that are safe with the broker, all of them.
    safe: usize,
    answered: usize,
    deleted: usize,
    /// A row could not be published, or not deleted.
    pub(super) failed: bool,
    /// More rows of the key wait.
    pub(super) more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Sent,
    Safe,
    Failed,
}

impl Flight {
    pub(super) fn add(&mut self, at: Key) -> usize {
        self.rows.push((Some(at), State::Sent));
        self.rows.len() - 1
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Notes what became of a row; returns the rows that may be deleted now: those before which none failed, so that
    /// what is published again begins where the order broke.
    pub(super) fn sent(&mut self, key: &Arc<str>, index: usize, safe: bool) -> Vec<Row> {
        self.rows[index].1 = if safe { State::Safe } else { State::Failed };
        self.failed |= !safe;
        self.answered += 1;
        let mut rows = Vec::new();
        while let Some((at, State::Safe)) = self.rows.get_mut(self.safe) {
            rows.extend(at.take().map(|at| Row { key: Arc::clone(key), at }));
            self.safe += 1;
        }
        rows
    }

    pub(super) fn deleted(&mut self, gone: bool) {
        self.deleted += 1;
        self.failed |= !gone;
    }

    pub(super) fn is_over(&self) -> bool {
        self.answered == self.rows.len() && self.deleted == self.safe
    }
}
