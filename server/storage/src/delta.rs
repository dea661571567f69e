//! A state delta as it is stored: one sorted, packed blob.
//!
//! Per entry: the state-key id as the distance from the one before, then the event id, both LEB128;
//! event id 0 says that the key is no longer set.

use crate::error::StorageError;

/// One changed entry of a state: the `(type, state_key)` id and the event now there, if any.
pub type DeltaEntry = (i64, Option<i64>);

/// Packs entries; `entries` must be sorted by key, each key once.
#[must_use]
pub fn pack(entries: &[DeltaEntry]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(entries.len() * 6);
    let mut last = 0;
    for &(key, event) in entries {
        push_varint(&mut packed, (key - last).unsigned_abs());
        push_varint(&mut packed, event.unwrap_or_default().unsigned_abs());
        last = key;
    }
    packed
}

/// Unpacks what [`pack`] packed.
///
/// # Errors
/// When the blob ends in the middle of a number or holds one that is no id.
pub fn unpack(mut packed: &[u8]) -> Result<Vec<DeltaEntry>, StorageError> {
    let mut entries = Vec::with_capacity(packed.len() / 4);
    let mut key = 0_i64;
    while !packed.is_empty() {
        let step = take_varint(&mut packed)?;
        let event = take_varint(&mut packed)?;
        key = key
            .checked_add(step)
            .ok_or_else(|| corrupt("a key beyond the range"))?;
        entries.push((key, (event != 0).then_some(event)));
    }
    Ok(entries)
}

/// Lays `newer` over `older`: what a chain of two deltas says as one. Both sorted by key.
#[must_use]
pub fn merge(older: &[DeltaEntry], newer: &[DeltaEntry]) -> Vec<DeltaEntry> {
    let mut merged: std::collections::BTreeMap<i64, Option<i64>> = older.iter().copied().collect();
    merged.extend(newer.iter().copied());
    merged.into_iter().collect()
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_varint(from: &mut &[u8]) -> Result<i64, StorageError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from
            .split_first()
            .ok_or_else(|| corrupt("it ends in a number"))?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(value).map_err(|_| corrupt("a number beyond the range"));
        }
    }
    Err(corrupt("a number that does not end"))
}

fn corrupt(why: &str) -> StorageError {
    StorageError::Corrupt {
        what: "state delta",
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips() {
        let entries = vec![
            (1, Some(7)),
            (3, None),
            (1_000_000, Some(i64::MAX)),
            (i64::MAX, Some(1)),
        ];
        assert_eq!(unpack(&pack(&entries)).unwrap(), entries);
        assert_eq!(unpack(&[]).unwrap(), vec![]);
    }

    #[test]
    fn a_torn_blob_is_refused() {
        let mut packed = pack(&[(1, Some(300))]);
        packed.pop();
        assert!(unpack(&packed).is_err());
        assert!(unpack(&[0xff; 20]).is_err());
    }

    #[test]
    fn the_newer_delta_wins() {
        let merged = merge(&[(1, Some(1)), (2, Some(2))], &[(2, None), (3, Some(3))]);
        assert_eq!(merged, vec![(1, Some(1)), (2, None), (3, Some(3))]);
    }
}
