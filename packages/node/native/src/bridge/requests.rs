//! The slots of requests: JavaScript's beside the machine's.

use zraft_client::binding::core::RequestKey;

use crate::layout::Id;

/// Maps slots of JavaScript to requests of the machine, and back.
#[derive(Default)]
pub(super) struct Requests {
    /// By the machine's slot: the generation of its use, and JavaScript's id of the request.
    ids: Vec<(u32, Option<Id>)>,
    /// By JavaScript's slot: the generation of its use, and the machine's key of the request.
    keys: Vec<Option<(u32, RequestKey)>>,
}

impl Requests {
    /// Returns true if the machine's slot of `key` belongs to a request.
    pub(super) fn is_taken(&self, key: RequestKey) -> bool {
        matches!(self.ids.get(key.slot as usize), Some((_, Some(_))))
    }

    pub(super) fn add(&mut self, key: RequestKey, id: Id) {
        put(&mut self.ids, key.slot as usize, (key.generation, Some(id)));
        put(&mut self.keys, id.number as usize, Some((id.generation, key)));
    }

    pub(super) fn id(&self, key: RequestKey) -> Option<Id> {
        let (generation, id) = *self.ids.get(key.slot as usize)?;
        if generation == key.generation { id } else { None }
    }

    pub(super) fn remove(&mut self, key: RequestKey) -> Option<Id> {
        let id = self.id(key)?;
        self.ids[key.slot as usize].1 = None;
        if let Some(place) = self.keys.get_mut(id.number as usize)
            && place.is_some_and(|(generation, _)| generation == id.generation)
        {
            *place = None;
        }
        Some(id)
    }

    pub(super) fn key(&self, id: Id) -> Option<RequestKey> {
        let (generation, key) = (*self.keys.get(id.number as usize)?)?;
        (generation == id.generation).then_some(key)
    }
}

fn put<T: Clone + Default>(places: &mut Vec<T>, index: usize, value: T) {
    if index >= places.len() {
        places.resize(index + 1, T::default());
    }
    places[index] = value;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zraft_client::binding::core::{Config, Instant, Machine, RequestKind, Timeout};

    use super::*;

    #[test]
    fn an_id_of_an_earlier_use_of_a_slot_matches_no_request() {
        let config =
            Config::builder().member("node-1", "tcp://h:1").capability("k", "v").build().unwrap();
        let mut machine = Machine::new(config, 1, Instant::from_nanos(0));
        machine.connect(Instant::from_nanos(0), None);
        let mut submit = || {
            let payload = Bytes::from_static(b"x");
            machine
                .submit(Instant::from_nanos(0), RequestKind::Command, payload, Timeout::Never)
                .unwrap()
        };
        let (first, second) = (submit(), submit());
        let id = |generation| Id { number: 7, generation };
        let mut requests = Requests::default();
        requests.add(first, id(1));
        assert_eq!((requests.key(id(1)), requests.key(id(0))), (Some(first), None));
        // JavaScript reused the slot before it saw the last record of the first request.
        requests.add(second, id(2));
        assert_eq!((requests.key(id(1)), requests.key(id(2))), (None, Some(second)));
        assert_eq!(requests.remove(first), Some(id(1)));
        assert_eq!(requests.key(id(2)), Some(second));
        assert_eq!(requests.remove(second), Some(id(2)));
        assert_eq!(requests.key(id(2)), None);
        // The machine reused its slot before it reported the completion of the first request.
        let later = RequestKey { generation: first.generation + 1, ..first };
        requests.add(later, id(3));
        assert_eq!((requests.id(first), requests.id(later)), (None, Some(id(3))));
    }
}
