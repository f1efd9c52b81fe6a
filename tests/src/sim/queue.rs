//! Events in the order of virtual time; those of one time in the order in which they were put in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Entry<E> {
    at_ms: u64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the largest first.
        (other.at_ms, other.number).cmp(&(self.at_ms, self.number))
    }
}

/// What is still to happen.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    number: u64,
}

impl<E> Queue<E> {
    pub(super) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }

    pub(super) fn push(&mut self, at_ms: u64, event: E) {
        self.number += 1;
        self.heap.push(Entry { at_ms, number: self.number, event });
    }

    /// The next event, if it happens before `end_ms`.
    pub(super) fn pop_before(&mut self, end_ms: u64) -> Option<(u64, E)> {
        if self.heap.peek()?.at_ms >= end_ms {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at_ms, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_their_making() {
        let mut queue = Queue::new();
        for (at_ms, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            queue.push(at_ms, event);
        }
        let order: String = std::iter::from_fn(|| queue.pop_before(9)).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
        assert_eq!(queue.pop_before(10), Some((9, 'e')));
    }
}
