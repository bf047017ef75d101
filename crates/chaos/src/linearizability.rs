//! Whether a history of concurrent operations is linearizable: whether each operation can be given a moment between its
//! invocation and its return so that, taken in the order of these moments, the results are those of one thread alone.
//!
//! The search is that of Wing and Gong, with Lowe's cache: a set of operations already placed that leads to a state met
//! before with the same set is not tried again. It is exponential at worst, so it has a limit; a history that reaches the
//! limit has not been shown to be right.

use std::{collections::HashSet, hash::Hash};

/// The most operations of one history.
pub const MAX_OPERATIONS: usize = 300;
/// Configurations, each a set of placed operations and the state after them, that are looked at before giving up.
pub const MAX_CONFIGURATIONS: usize = 1_000_000;

/// What operations mean, one at a time.
pub trait Model {
    /// All there is to know between two operations.
    type State: Clone + Eq + Hash;
    /// An operation and, if it has one, its result.
    type Op;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after an operation; none when this state does not give the operation's result.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation and when it was under way.
///
/// Moments are of any clock that all operations share and that never gives the order of two events wrongly. Operations
/// that touch, one returning at the moment at which another is invoked, count as concurrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Op> {
    /// What was done and, where it is known, what came of it.
    pub op: Op,
    /// When it was invoked.
    pub invoked: u64,
    /// When it returned. None: its outcome is unknown; it may take effect at any time from its invocation on, or never.
    pub returned: Option<u64>,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    NotLinearizable {
        /// The operation, by its index, that could not be placed after the most others could.
        stuck: usize,
    },
    /// It could not be told within the limits. Not to be taken for success.
    TooHard,
}

/// Searches for an order in which the operations can have happened one after the other.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>]) -> Verdict {
    check_within(model, history, MAX_CONFIGURATIONS)
}

/// [`check`], which gives up after so many configurations.
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

/// Which operations are placed.
type Placed = [u64; MAX_OPERATIONS.div_ceil(64)];

#[derive(Clone, Copy, Debug)]
enum Event {
    Invoked(usize),
    Returned(usize),
}

/// The events of all operations that are not placed, in order, as a list from which an operation can be lifted and into
/// which it can be put back.
struct Events {
    events: Vec<Event>,
    /// `next[i + 1]` follows event `i`; `next[0]` is the first. Its own index marks the end.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where an operation is invoked and where it returns.
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
        // At the same moment invocations come first: what touches is concurrent.
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

    /// Undoes the latest [`lift`](Self::lift) that is not undone yet.
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
    /// Operations that returned and are not placed.
    left: usize,
    placed: Placed,
    seen: HashSet<(Placed, M::State)>,
    /// What was placed, in order, and the state before each.
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
            // While something that returned is left, the list does not end before its return.
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
                // It returned before anything behind this could be: something in front must be placed differently.
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

    /// Places an operation next, if this state allows it and leads to a configuration not seen before.
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
