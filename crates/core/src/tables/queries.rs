//! Correlation ids of queries: UUID text that carries where the query stands.
//!
//! The 128 bits, after RFC 9562's custom form (version 8): 48 bits drawn once per client, 4 of version, 12 of
//! the slot, 2 of variant, 16 of the slot again, then a counter of 46 bits. An answer finds its query by the slot, without a search, and the counter
//! tells it from others that held the slot.

/// Bytes of a correlation id.
pub(crate) const TEXT: usize = 36;
/// Slots of 28 bits: more requests than the configuration can allow.
const SLOT_BITS: u32 = 28;
/// The lower part of the slot stands beside the counter.
const LOW_SLOT_BITS: u32 = 16;
/// At a million queries a second this lasts for two years.
const COUNTER_BITS: u32 = 46;

/// What a correlation id of this client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueryRef {
    pub(crate) slot: u32,
    pub(crate) counter: u64,
}

/// Makes and reads the correlation ids of one client.
#[derive(Debug)]
pub(crate) struct CorrelationIds {
    client: u64,
}

impl CorrelationIds {
    pub(crate) fn new(random: u64) -> Self {
        Self { client: random & 0xffff_ffff_ffff }
    }

    pub(crate) fn text(&self, query: QueryRef) -> [u8; TEXT] {
        let slot = u64::from(query.slot) & ((1 << SLOT_BITS) - 1);
        let high = (self.client << 16) | (8 << 12) | (slot >> LOW_SLOT_BITS);
        let low = (0b10 << 62)
            | ((slot & 0xffff) << COUNTER_BITS)
            | (query.counter & ((1 << COUNTER_BITS) - 1));
        let mut text = [b'-'; TEXT];
        let bits = (u128::from(high) << 64) | u128::from(low);
        let mut shift = 128;
        for (place, digit) in text.iter_mut().enumerate() {
            if !matches!(place, 8 | 13 | 18 | 23) {
                shift -= 4;
                *digit = b"0123456789abcdef"[((bits >> shift) & 0xf) as usize];
            }
        }
        text
    }

    /// Reads an id of this client; `None` for any other text.
    pub(crate) fn read(&self, text: &[u8]) -> Option<QueryRef> {
        if text.len() != TEXT {
            return None;
        }
        let mut bits: u128 = 0;
        for (place, byte) in text.iter().enumerate() {
            let digit = match byte {
                b'-' if matches!(place, 8 | 13 | 18 | 23) => continue,
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            bits = (bits << 4) | u128::from(digit);
        }
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        if high >> 16 != self.client || (high >> 12) & 0xf != 8 || low >> 62 != 0b10 {
            return None;
        }
        let slot = ((high & 0xfff) << LOW_SLOT_BITS) | ((low >> COUNTER_BITS) & 0xffff);
        Some(QueryRef { slot: slot as u32, counter: low & ((1 << COUNTER_BITS) - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_a_uuid_that_gives_back_slot_and_counter() {
        let ids = CorrelationIds::new(0xdead_beef_1234_5678);
        for (slot, counter) in
            [(0, 1), (1, 2), (1023, 7), (65_536, 8), ((1 << 28) - 1, (1 << 46) - 1)]
        {
            let query = QueryRef { slot, counter };
            let text = ids.text(query);
            assert_eq!(ids.read(&text), Some(query));
            assert_eq!(text[14], b'8');
            assert!(matches!(text[19], b'8'..=b'b'));
            let other = CorrelationIds::new(1);
            assert_eq!(other.read(&text), None);
        }
        assert_eq!(ids.read(b"corr-123"), None);
        assert_eq!(ids.read(&[b'-'; 36]), None);
        assert_eq!(ids.read(&[0xff; 36]), None);
    }

    #[test]
    fn dashes_stand_where_a_uuid_has_them_and_nowhere_else() {
        let ids = CorrelationIds::new(0xdead_beef_1234_5678);
        let text = ids.text(QueryRef { slot: 5, counter: 6 });
        for place in [8, 13, 18, 23] {
            assert_eq!(text[place], b'-');
            let mut moved = text;
            moved.swap(place, place - 1);
            assert_eq!(ids.read(&moved), None, "the dash at {place} is moved");
        }
    }
}
