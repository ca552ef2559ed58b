//! Virtual time: what happens next, in an order that depends on nothing but the seed.

use std::collections::BTreeMap;

/// Events by time, and by order of planning within one millisecond.
#[derive(Debug)]
pub struct Schedule<T> {
    now_ms: u64,
    planned: u64,
    queue: BTreeMap<(u64, u64), T>,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { now_ms: 0, planned: 0, queue: BTreeMap::new() }
    }
}

impl<T> Schedule<T> {
    /// Virtual milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Plans an event.
    pub fn after(&mut self, delay_ms: u64, event: T) {
        self.at(self.now_ms + delay_ms, event);
    }

    /// Plans an event for a time; a time that has passed means now.
    pub fn at(&mut self, time_ms: u64, event: T) {
        self.planned += 1;
        self.queue.insert((time_ms.max(self.now_ms), self.planned), event);
    }

    /// Takes the next event and moves the clock to it.
    pub fn next(&mut self) -> Option<T> {
        let ((time_ms, _), event) = self.queue.pop_first()?;
        self.now_ms = time_ms;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_planning() {
        let mut schedule = Schedule::default();
        schedule.after(5, 'c');
        schedule.after(1, 'a');
        schedule.after(1, 'b');
        assert_eq!(std::iter::from_fn(|| schedule.next()).collect::<String>(), "abc");
        assert_eq!(schedule.now_ms(), 5);
    }
}
