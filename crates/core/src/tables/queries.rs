//! Correlation ids of queries: UUID text that carries the slot of the query.
//!
//! The 128 bits, after RFC 9562's custom form (version 8): 48 bits drawn once per client, 4 of version, 12 of the
//! slot, 2 of variant, 16 of the slot again, then a counter of 46 bits. An answer finds its query by the slot,
//! without a search, and the counter tells it from others that held the slot.

/// The length of a correlation id in bytes.
pub(crate) const TEXT: usize = 36;
/// Bits of a slot: enough for more requests than the configuration can allow.
const SLOT_BITS: u32 = 28;
/// The lower part of the slot stands beside the counter, the rest beside the version.
const LOW_SLOT_BITS: u32 = 16;
/// Bits of the counter: enough for two years at a million queries a second.
const COUNTER_BITS: u32 = 46;

/// What a correlation id of this client contains.
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

    #[inline]
    pub(crate) fn text(&self, query: QueryRef) -> [u8; TEXT] {
        let slot = u64::from(query.slot) & ((1 << SLOT_BITS) - 1);
        let high = (self.client << 16) | (8 << 12) | (slot >> LOW_SLOT_BITS);
        let low = (0b10 << 62)
            | ((slot & 0xffff) << COUNTER_BITS)
            | (query.counter & ((1 << COUNTER_BITS) - 1));
        let parts = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32];
        let mut digits = [0; 32];
        for (place, part) in digits.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&digits_of(part));
        }
        let mut text = [b'-'; TEXT];
        text[..8].copy_from_slice(&digits[..8]);
        text[9..13].copy_from_slice(&digits[8..12]);
        text[14..18].copy_from_slice(&digits[12..16]);
        text[19..23].copy_from_slice(&digits[16..20]);
        text[24..].copy_from_slice(&digits[20..]);
        text
    }

    /// Reads a correlation id of this client. `None` for any other text.
    #[inline]
    pub(crate) fn read(&self, text: &[u8]) -> Option<QueryRef> {
        let text: &[u8; TEXT] = text.try_into().ok()?;
        let part = |from: usize| number_of(text[from..].first_chunk().copied().unwrap_or_default());
        // The upper twelve bits of the slot end the third group. The rest of it, and the counter, follow the variant.
        let low = (number_of([
            text[19], text[20], text[21], text[22], text[24], text[25], text[26], text[27],
        ]) << 32)
            | part(28);
        let upper = number_of([0, 0, 0, 0, text[14], text[15], text[16], text[17]]) & 0xfff;
        let slot = (upper << LOW_SLOT_BITS) | ((low >> COUNTER_BITS) & 0xffff);
        let query = QueryRef { slot: slot as u32, counter: low & ((1 << COUNTER_BITS) - 1) };
        // Bytes that are not digits give a meaningless number, so the text is compared with the text of that number.
        (self.text(query) == *text).then_some(query)
    }
}

/// Returns the eight hexadecimal digits of a number. Works on all of them at once: a query needs four calls.
#[inline]
fn digits_of(number: u32) -> [u8; 8] {
    let mut digits = u64::from(number);
    digits = (digits | (digits << 16)) & 0x0000_ffff_0000_ffff;
    digits = (digits | (digits << 8)) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | (digits << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // From ten on they are letters, which come 0x27 after the digits.
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * 0x27).to_be_bytes()
}

/// Returns the number of eight hexadecimal digits, and any number for other bytes. Works on all of them at once.
#[inline]
fn number_of(digits: [u8; 8]) -> u64 {
    let text = u64::from_be_bytes(digits);
    let letters = (text >> 6) & 0x0101_0101_0101_0101;
    let mut number = (text & 0x0f0f_0f0f_0f0f_0f0f).wrapping_add(letters.wrapping_mul(9));
    number &= 0x0f0f_0f0f_0f0f_0f0f;
    number = (number | (number >> 4)) & 0x00ff_00ff_00ff_00ff;
    number = (number | (number >> 8)) & 0x0000_ffff_0000_ffff;
    (number | (number >> 16)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_id_is_a_uuid_that_carries_slot_and_counter() {
        let ids = CorrelationIds::new(0xdead_beef_1234_5678);
        for (slot, counter) in
            [(0, 1), (1, 2), (1023, 7), (65_536, 8), ((1 << 28) - 1, (1 << 46) - 1)]
        {
            let query = QueryRef { slot, counter };
            let text = ids.text(query);
            assert_eq!(ids.read(&text), Some(query));
            let plain = format!("{:08x}", query.counter as u32);
            assert!(text.ends_with(plain.as_bytes()));
            assert_eq!(text[14], b'8');
            assert!(matches!(text[19], b'8'..=b'b'));
            let other = CorrelationIds::new(1);
            assert_eq!(other.read(&text), None);
        }
        // A text with one byte changed in any way is not an id, or another one.
        let text = ids.text(QueryRef { slot: 0x0abc_def1, counter: 0x1234_5678_9abc });
        for place in 0..TEXT {
            for byte in 0..=u8::MAX {
                let mut other = text;
                other[place] = byte;
                let read = ids.read(&other);
                assert!(read.is_none_or(|query| ids.text(query) == other), "{place} {byte}");
            }
        }
        assert_eq!(ids.read(&text.to_ascii_uppercase()), None);
        assert_eq!(ids.read(b"corr-123"), None);
        assert_eq!(ids.read(&[b'-'; 36]), None);
        assert_eq!(ids.read(&[0xff; 36]), None);
    }

    #[test]
    fn every_bit_of_slot_and_counter_has_its_own_place() {
        let ids = CorrelationIds::new(0xdead_beef_1234_5678);
        let slots = (0..28).map(|bit| QueryRef { slot: 1 << bit, counter: 0x1234_5678_9abc });
        let counters = (0..46).map(|bit| QueryRef { slot: 0x0abc_def1, counter: 1 << bit });
        for query in slots.chain(counters) {
            assert_eq!(ids.read(&ids.text(query)), Some(query));
        }
    }

    #[test]
    fn clients_that_differ_in_one_bit_have_different_correlation_ids() {
        let query = QueryRef { slot: 5, counter: 6 };
        let text = CorrelationIds::new(0).text(query);
        for bit in 0..48 {
            let other = CorrelationIds::new(1 << bit);
            assert_ne!(other.text(query), text, "bit {bit}");
            assert_eq!(other.read(&text), None, "bit {bit}");
        }
    }

    #[test]
    fn dashes_stand_only_where_a_uuid_has_them() {
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
