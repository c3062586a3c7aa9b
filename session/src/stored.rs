//! How a field is stored: kind, revision, deadline, payload. See the layout in `redis/mod.rs`.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::DateTime;

use crate::field::{Field, FieldValue};

/// A field as it is stored.
#[cfg(feature = "postgres")]
pub(crate) fn write_field(field: &Field) -> Vec<u8> {
    let (kind, payload) = match &field.value {
        FieldValue::Bytes(bytes) => (b'b', bytes.to_vec()),
        FieldValue::Counter(count) => (b'c', count.to_be_bytes().to_vec()),
        FieldValue::List(values) => (b'l', pack(values)),
        FieldValue::Set(members) => (b's', pack(members)),
        FieldValue::Unreadable(raw) => return raw.to_vec(),
    };
    let deadline = field.expires_at.map(|at| at.timestamp_micros().cast_unsigned());
    let mut raw = vec![if deadline.is_some() { kind.to_ascii_uppercase() } else { kind }];
    raw.extend(field.revision.to_be_bytes());
    raw.extend(deadline.into_iter().flat_map(u64::to_be_bytes));
    raw.extend(payload);
    raw
}

pub(crate) fn pack<'a>(elements: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut packed = Vec::new();
    for element in elements {
        // invariant: limits keep elements below 4 GiB
        let size = u32::try_from(element.len()).expect("limits are far below 4 GiB");
        packed.extend(size.to_be_bytes());
        packed.extend_from_slice(element);
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Option<Vec<Bytes>> {
    let mut elements = Vec::new();
    while !packed.is_empty() {
        let (size, rest) = packed.split_first_chunk()?;
        let (element, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        elements.push(Bytes::copy_from_slice(element));
        packed = rest;
    }
    Some(elements)
}

/// A stored field. What cannot be read fails alone, when somebody asks for it.
pub(crate) fn read_field(raw: &[u8]) -> Field {
    decode(raw)
        .unwrap_or_else(|| Field::new(FieldValue::Unreadable(Bytes::copy_from_slice(raw)), 0))
}

fn decode(raw: &[u8]) -> Option<Field> {
    let (kind, rest) = raw.split_first()?;
    let (revision, mut payload) = number(rest)?;
    let mut expires_at = None;
    if kind.is_ascii_uppercase() {
        let (deadline, rest) = number(payload)?;
        expires_at = Some(DateTime::from_timestamp_micros(i64::try_from(deadline).ok()?)?);
        payload = rest;
    }
    let value = match kind.to_ascii_lowercase() {
        b'b' => FieldValue::Bytes(Bytes::copy_from_slice(payload)),
        b'c' => FieldValue::Counter(i64::from_be_bytes(payload.try_into().ok()?)),
        b'l' => FieldValue::List(unpack(payload)?),
        b's' => FieldValue::Set(unpack(payload)?.into_iter().collect::<BTreeSet<_>>()),
        _ => return None,
    };
    let mut field = Field::new(value, revision);
    field.expires_at = expires_at;
    Some(field)
}

pub(crate) fn number(raw: &[u8]) -> Option<(u64, &[u8])> {
    let (bytes, rest) = raw.split_first_chunk()?;
    Some((u64::from_be_bytes(*bytes), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_packed_without_ambiguity() {
        let elements = ["", "a", "bc", ""].map(Bytes::from);
        assert_eq!(unpack(&pack(&elements)).unwrap(), elements);
        assert_eq!(unpack(&[0, 0, 0, 2, 1]), None);
        assert_eq!(unpack(&[0, 0, 0]), None);
    }
}
