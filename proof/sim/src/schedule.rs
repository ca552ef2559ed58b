//! Virtual time: what happens next, in an order that depends on nothing but the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time, and by order of planning within one millisecond. Events are large, so only their places are sorted.
#[derive(Debug)]
pub struct Schedule<T> {
    now_ms: u64,
    planned: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { now_ms: 0, planned: 0, queue: BinaryHeap::new(), places: Vec::new(), free: Vec::new() }
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
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(event));
        } else {
            self.places[place] = Some(event);
        }
        self.queue.push(Reverse((time_ms.max(self.now_ms), self.planned, place)));
    }

    /// When the next event comes.
    pub fn next_ms(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((time_ms, _, _))| *time_ms)
    }

    /// Takes the next event and moves the clock to it.
    pub fn next(&mut self) -> Option<T> {
        let Reverse((time_ms, _, place)) = self.queue.pop()?;
        self.now_ms = time_ms;
        self.free.push(place);
        self.places[place].take()
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
        assert_eq!(schedule.next_ms(), Some(1));
        assert_eq!(std::iter::from_fn(|| schedule.next()).collect::<String>(), "abc");
        assert_eq!(schedule.now_ms(), 5);
    }
}
