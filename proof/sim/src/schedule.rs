//! Virtual time: what happens next, in an order that depends on nothing but the seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How far ahead events are kept by millisecond, one list each: nearly all are planned closer than that. One bit of a word each.
const NEAR_MS: u64 = u64::BITS as u64;

/// Events by time, and by order of planning within one millisecond.
#[derive(Debug)]
pub struct Schedule<T> {
    now_ms: u64,
    planned: u64,
    /// Events of the next [`NEAR_MS`], each with its number in the order of planning; the place is the time modulo their count.
    near: Vec<VecDeque<(u64, T)>>,
    /// Which lists are not empty.
    occupied: u64,
    /// Later ones by time and number. Events are large, so only their places are sorted.
    far: BinaryHeap<Reverse<(u64, u64, usize)>>,
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        let near = (0..NEAR_MS).map(|_| VecDeque::new()).collect();
        Self { now_ms: 0, planned: 0, near, occupied: 0, far: BinaryHeap::new(), places: Vec::new(), free: Vec::new() }
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
        let time_ms = time_ms.max(self.now_ms);
        if time_ms - self.now_ms < NEAR_MS {
            let list = time_ms % NEAR_MS;
            self.near[list as usize].push_back((self.planned, event));
            self.occupied |= 1 << list;
        } else {
            self.plan_far(time_ms, event);
        }
    }

    fn plan_far(&mut self, time_ms: u64, event: T) {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(event));
        } else {
            self.places[place] = Some(event);
        }
        self.far.push(Reverse((time_ms, self.planned, place)));
    }

    /// When the next event comes.
    pub fn next_ms(&self) -> Option<u64> {
        let far_ms = self.far.peek().map(|Reverse((time_ms, _, _))| *time_ms);
        [self.near_ms(), far_ms].into_iter().flatten().min()
    }

    /// When the next near event comes. A list never holds two times: whoever plans for one sees the clock less than a round before.
    fn near_ms(&self) -> Option<u64> {
        let now = (self.now_ms % NEAR_MS) as u32;
        (self.occupied != 0).then(|| self.now_ms + u64::from(self.occupied.rotate_right(now).trailing_zeros()))
    }

    /// Takes the next event and moves the clock to it.
    pub fn next(&mut self) -> Option<T> {
        let near = self.near_ms().and_then(|time_ms| {
            let (planned, _) = self.near[(time_ms % NEAR_MS) as usize].front()?;
            Some((time_ms, *planned))
        });
        let far = self.far.peek().map(|Reverse((time_ms, planned, _))| (*time_ms, *planned));
        match (near, far) {
            (Some(near), far) if far.is_none_or(|far| near < far) => self.take_near(near.0),
            _ => self.take_far(),
        }
    }

    fn take_near(&mut self, time_ms: u64) -> Option<T> {
        self.now_ms = time_ms;
        let list = time_ms % NEAR_MS;
        let (_, event) = self.near[list as usize].pop_front()?;
        if self.near[list as usize].is_empty() {
            self.occupied &= !(1 << list);
        }
        Some(event)
    }

    fn take_far(&mut self) -> Option<T> {
        let Reverse((time_ms, _, place)) = self.far.pop()?;
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

    /// Against a list that is sorted anew each time.
    #[test]
    fn near_and_far_events_keep_one_order() {
        let (mut schedule, mut expected) = (Schedule::default(), Vec::new());
        let mut random = crate::random::Random::new(7);
        for number in 0..5_000_u64 {
            let time_ms = schedule.now_ms() + random.below(3 * NEAR_MS);
            schedule.at(time_ms, number);
            expected.push((time_ms, number));
            if random.chance(490_000) {
                expected.sort_unstable();
                let (first_ms, first) = expected.remove(0);
                assert_eq!(schedule.next_ms(), Some(first_ms));
                assert_eq!((schedule.next(), schedule.now_ms()), (Some(first), first_ms));
            }
        }
        expected.sort_unstable();
        let rest: Vec<u64> = std::iter::from_fn(|| schedule.next()).collect();
        assert_eq!(rest, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
    }
}
