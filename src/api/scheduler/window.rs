//! The general rate: three slots, each holding one call until the service has surely seen it.
//!
//! Promises, whatever the network does between us and the service: never more than three calls
//! *arrive* in any second, and never more than three *start* in any 3/rate seconds. A start and
//! its arrival can lie a round trip apart, so that calls spaced well at our end may bunch at the
//! other; a slot is therefore free only [`ARRIVED`] after its call's answer came, when the arrival
//! is a full second past. Any four calls include two of one slot, and those never arrive within a
//! second.
use super::call::CallId;
use crate::util::clock::Moment;
use std::time::Duration;

/// Calls that may be under way before their slot is free again: 3 per second are allowed
/// (API reference 3).
pub(super) const SLOTS: usize = 3;

/// From the latest possible arrival of a call until its slot is free: the service's one second
/// and 50 ms for clocks that do not tick alike.
pub(super) const ARRIVED: Duration = Duration::from_millis(1050);

/// The three slots.
#[derive(Debug)]
pub(super) struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The last call that took it.
    holder: Option<CallId>,
    /// 3/rate after that call's start.
    spaced: Moment,
    /// When that call has arrived at the latest.
    arrived: Moment,
    /// From when on it is free.
    free_at: Moment,
    /// From when on it was free before, for a call that was never sent.
    before: Moment,
}

impl Slot {
    fn free_from(at: Moment) -> Self {
        Self {
            holder: None,
            spaced: at,
            arrived: at,
            free_at: at,
            before: at,
        }
    }
}

impl Window {
    /// Slots that are free from the given moments on; missing ones are free at `now`.
    pub(super) fn new(free_at: &[Moment], now: Moment) -> Self {
        let mut slots = [Slot::free_from(now); SLOTS];
        for (slot, at) in slots.iter_mut().zip(free_at) {
            *slot = Slot::free_from(*at);
        }
        Self { slots }
    }

    /// How many slots are free.
    pub(super) fn free(&self, now: Moment) -> usize {
        self.slots.iter().filter(|slot| slot.free_at <= now).count()
    }

    /// When `count` (1 to 3) slots are free, unless answers come before.
    pub(super) fn free_at(&self, count: usize) -> Moment {
        let mut at = self.free_times();
        at.sort_unstable();
        at[count.clamp(1, SLOTS) - 1]
    }

    /// When each slot is free, for keeping.
    pub(super) fn free_times(&self) -> [Moment; SLOTS] {
        self.slots.map(|slot| slot.free_at)
    }

    /// No call can start before this moment, even if none that is under way had been sent.
    pub(super) fn earliest(&self, now: Moment) -> Moment {
        let best = |slot: &Slot| slot.free_at.min(slot.spaced.max(now));
        self.slots.iter().map(best).min().unwrap_or(now)
    }

    /// `id` starts now at `rate` starts per second and has arrived at `arrived` at the latest. The
    /// caller has seen that a slot is free.
    pub(super) fn take(&mut self, id: CallId, now: Moment, arrived: Moment, rate: f64) {
        debug_assert!(self.free(now) > 0, "a call started without a slot");
        let Some(slot) = self.slots.iter_mut().min_by_key(|slot| slot.free_at) else {
            return;
        };
        let spaced = now.after(Duration::from_secs_f64(3.0 / rate));
        *slot = Slot {
            holder: Some(id),
            spaced,
            arrived,
            free_at: spaced.max(arrived.after(ARRIVED)),
            before: slot.free_at,
        };
    }

    /// The answer to `id` came now.
    pub(super) fn answered(&mut self, id: CallId, now: Moment) {
        if let Some(slot) = self.slot_of(id) {
            slot.arrived = slot.arrived.min(now);
            slot.free_at = slot.spaced.max(slot.arrived.after(ARRIVED));
        }
    }

    /// `id` reached nobody and never will: it keeps its distance from the next start, no more.
    pub(super) fn never_arrives(&mut self, id: CallId) {
        if let Some(slot) = self.slot_of(id) {
            slot.free_at = slot.spaced;
        }
    }

    /// `id` was taken back before it was made: its slot is as before.
    pub(super) fn give_back(&mut self, id: CallId) {
        if let Some(slot) = self.slot_of(id) {
            *slot = Slot::free_from(slot.before);
        }
    }

    fn slot_of(&mut self, id: CallId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.holder == Some(id))
    }
}
