//! Checks whether a history of concurrent operations is linearizable.
//!
//! A history is linearizable if each operation can be assigned a moment between its invocation and its return such that
//! executing the operations in the order of these moments gives their results.
//!
//! The search is that of Wing and Gong with Lowe's cache: a set of placed operations is not tried again with a state
//! that it led to before. The search is exponential in the worst case, so it has a limit. A history that reaches the
//! limit has not been shown to be linearizable.

use std::{collections::HashSet, hash::Hash};

/// The greatest number of operations in one history. It fixes the size of the bit set in each cached configuration.
pub const MAX_OPERATIONS: usize = 300;
/// The number of configurations examined before the search gives up. A configuration is a set of placed operations and
/// the state after them. A million take about 100 MB, and are far more than a history of [`MAX_OPERATIONS`] by a few
/// concurrent callers needs.
pub const MAX_CONFIGURATIONS: usize = 1_000_000;

/// The sequential specification: the effect of one operation at a time.
pub trait Model {
    /// The state between two operations.
    type State: Clone + Eq + Hash;
    /// An operation with its result, if it has one.
    type Op;

    /// Returns the state before the first operation.
    fn initial(&self) -> Self::State;

    /// Returns the state after an operation, or `None` if the operation cannot give its result in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation and the interval in which it was in progress.
///
/// The moments come from any clock that all operations share and that orders events correctly. Two operations are
/// concurrent if one returns at the same moment at which the other is invoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Op> {
    /// The operation with its result, if it is known.
    pub op: Op,
    /// The moment of the invocation.
    pub invoked: u64,
    /// The moment of the return, or `None` if the outcome is unknown: the operation may take effect at any time after
    /// its invocation, or never.
    pub returned: Option<u64>,
}

/// The result of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A valid order exists.
    Linearizable,
    /// No valid order exists.
    NotLinearizable {
        /// The index of the operation that could not be placed after the longest valid prefix.
        stuck: usize,
    },
    /// The search reached its limits without a result. The caller must not treat this as success.
    TooHard,
}

/// Searches for a valid sequential order of the operations.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>]) -> Verdict {
    check_within(model, history, MAX_CONFIGURATIONS)
}

/// Does the same as [`check`], but gives up after this many configurations.
pub fn check_within<M: Model>(
    model: &M,
    history: &[Operation<M::Op>],
    configurations: usize,
) -> Verdict {
    if history.len() > MAX_OPERATIONS {
        return Verdict::TooHard;
    }
    Search::new(model, history).run(configurations)
}

/// The set of placed operations, one bit each.
type Placed = [u64; MAX_OPERATIONS.div_ceil(64)];

#[derive(Clone, Copy, Debug)]
enum Event {
    Invoked(usize),
    Returned(usize),
}

/// The events of all operations that are not placed, in order. A linked list, from which an operation can be lifted and
/// put back in constant time.
struct Events {
    events: Vec<Event>,
    /// `next[i + 1]` is the event after event `i`, and `next[0]` is the first event. The number of events marks the
    /// end.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The positions of each operation's invocation and return.
    places: Vec<(usize, Option<usize>)>,
}

impl Events {
    fn new<Op>(history: &[Operation<Op>]) -> Self {
        let mut events: Vec<(u64, bool, Event)> = Vec::with_capacity(2 * history.len());
        for (index, operation) in history.iter().enumerate() {
            events.push((operation.invoked, false, Event::Invoked(index)));
            if let Some(returned) = operation.returned {
                events.push((returned, true, Event::Returned(index)));
            }
        }
        // At the same moment invocations come before returns, so that such operations are concurrent.
        events.sort_by_key(|(at, returns, _)| (*at, *returns));
        let events: Vec<_> = events.into_iter().map(|(_, _, event)| event).collect();
        let mut places = vec![(0, None); history.len()];
        for (place, event) in events.iter().enumerate() {
            match event {
                Event::Invoked(index) => places[*index].0 = place,
                Event::Returned(index) => places[*index].1 = Some(place),
            }
        }
        let next = (0..=events.len()).collect();
        let previous = (0..=events.len()).collect();
        Self { events, next, previous, places }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn after(&self, place: usize) -> usize {
        self.next[place + 1]
    }

    fn lift(&mut self, operation: usize) {
        let (invoked, returned) = self.places[operation];
        self.remove(invoked);
        if let Some(returned) = returned {
            self.remove(returned);
        }
    }

    /// Undoes the latest [`lift`](Self::lift) that was not undone yet.
    fn put_back(&mut self, operation: usize) {
        let (invoked, returned) = self.places[operation];
        if let Some(returned) = returned {
            self.insert(returned);
        }
        self.insert(invoked);
    }

    fn remove(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place + 1]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn insert(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place + 1]);
        self.next[before] = place;
        self.previous[after] = place + 1;
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Op>],
    events: Events,
    /// The number of operations that returned and are not placed.
    left: usize,
    placed: Placed,
    seen: HashSet<(Placed, M::State)>,
    /// The placed operations in order, each with the state before it.
    path: Vec<(usize, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Op>]) -> Self {
        Self {
            model,
            history,
            events: Events::new(history),
            left: history.iter().filter(|operation| operation.returned.is_some()).count(),
            placed: [0; MAX_OPERATIONS.div_ceil(64)],
            seen: HashSet::new(),
            path: Vec::new(),
        }
    }

    fn run(mut self, configurations: usize) -> Verdict {
        let mut state = self.model.initial();
        let mut place = self.events.first();
        let mut stuck = (0, 0);
        while self.left > 0 {
            // At least one operation that returned is left, so the list does not end before its return.
            match self.events.events[place] {
                Event::Invoked(index) => {
                    place = match self.place(index, &state) {
                        Some(next) => {
                            if self.seen.len() > configurations {
                                return Verdict::TooHard;
                            }
                            self.path.push((index, std::mem::replace(&mut state, next)));
                            self.events.first()
                        }
                        None => self.events.after(place),
                    };
                }
                // This operation returned before all later ones were invoked, so it cannot be placed after them: an
                // earlier choice must change.
                Event::Returned(index) => {
                    if self.path.len() >= stuck.0 {
                        stuck = (self.path.len(), index);
                    }
                    let Some((last, before)) = self.path.pop() else {
                        return Verdict::NotLinearizable { stuck: stuck.1 };
                    };
                    state = before;
                    self.take_back(last);
                    place = self.events.after(self.events.places[last].0);
                }
            }
        }
        Verdict::Linearizable
    }

    /// Places an operation next if the state permits it and the result is a configuration that was not seen before.
    fn place(&mut self, index: usize, state: &M::State) -> Option<M::State> {
        let next = self.model.step(state, &self.history[index].op)?;
        let mut placed = self.placed;
        placed[index / 64] |= 1 << (index % 64);
        if !self.seen.insert((placed, next.clone())) {
            return None;
        }
        self.placed = placed;
        self.events.lift(index);
        self.left -= usize::from(self.history[index].returned.is_some());
        Some(next)
    }

    fn take_back(&mut self, index: usize) {
        self.placed[index / 64] &= !(1 << (index % 64));
        self.events.put_back(index);
        self.left += usize::from(self.history[index].returned.is_some());
    }
}
