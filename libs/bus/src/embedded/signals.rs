use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Signals, check_address};
use crate::meter::dropped_signals;
use crate::ring::Ring;
use crate::{BusError, BusErrorKind, Envelope, wire};

#[derive(Default)]
pub(super) struct Listeners {
    by_kind: Mutex<HashMap<String, Vec<Listener>>>,
    turn: AtomicU64,
    is_closed: AtomicBool,
}

struct Listener {
    address: Option<String>,
    group: Option<String>,
    ring: Arc<Ring>,
}

impl Listeners {
    fn by_kind(&self) -> MutexGuard<'_, HashMap<String, Vec<Listener>>> {
        self.by_kind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        self.check_open()?;
        address.map(check_address).transpose()?;
        let ring = Ring::new(buffer, dropped_signals("embedded", kind));
        let listener =
            Listener { address: address.map(str::to_owned), group: group.map(str::to_owned), ring: Arc::clone(&ring) };
        let mut by_kind = self.by_kind();
        let listeners = by_kind.entry(kind.to_owned()).or_default();
        listeners.retain(|listener| !listener.ring.is_closed());
        listeners.push(listener);
        Ok(Signals { ring })
    }

    pub(super) fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        self.check_open()?;
        check_address(address)?;
        wire::check(&envelope)?;
        let mut by_kind = self.by_kind();
        let Some(listeners) = by_kind.get_mut(&envelope.kind) else { return Ok(()) };
        listeners.retain(|listener| !listener.ring.is_closed());
        let hears = |listener: &&Listener| listener.address.as_deref().is_none_or(|own| own == address);
        let mut groups = HashSet::new();
        for listener in listeners.iter().filter(hears) {
            let Some(group) = &listener.group else {
                listener.ring.push(envelope.clone());
                continue;
            };
            if groups.insert(group) {
                let sharing: Vec<&Listener> =
                    listeners.iter().filter(hears).filter(|other| other.group.as_ref() == Some(group)).collect();
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
                sharing[turn % sharing.len()].ring.push(envelope.clone());
            }
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(BusError::new(BusErrorKind::Closed, "the bus is closed"));
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for listener in self.by_kind().drain().flat_map(|(_, listeners)| listeners) {
            listener.ring.close();
        }
    }
}
