//! Messages of CRIU's RPC (criu/images/rpc.proto): protobuf's wire form, as far as they use it. Pure.
//! Not its job: what is asked (request).

/// A message being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

impl Message {
    /// The bytes to be sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn key(&mut self, field: u32, kind: u8) {
        self.varint(u64::from(field) << 3 | u64::from(kind));
    }

    /// A number, enum or bool.
    pub(crate) fn number(&mut self, field: u32, value: impl Into<u64>) -> &mut Self {
        self.key(field, VARINT);
        self.varint(value.into());
        self
    }

    /// A flag that is only told when it is set.
    pub(crate) fn flag(&mut self, field: u32, set: bool) -> &mut Self {
        if set {
            self.number(field, 1_u64);
        }
        self
    }

    /// A string.
    pub(crate) fn text(&mut self, field: u32, value: &str) -> &mut Self {
        self.field_bytes(field, value.as_bytes())
    }

    /// A message in a message.
    pub(crate) fn message(&mut self, field: u32, value: &Self) -> &mut Self {
        self.field_bytes(field, &value.0)
    }

    fn field_bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.key(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A field that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number, enum or bool.
    Number(u64),
    /// A string or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message in their order; `None` where the bytes are no message.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match (key & 7) as u8 {
            VARINT => Value::Number(varint(&mut bytes)?),
            BYTES => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            FIXED_64 => Value::Bytes(take(&mut bytes, 8)?),
            FIXED_32 => Value::Bytes(take(&mut bytes, 4)?),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_protobuf_makes_of_it() {
        // The examples of protobuf's own description of its encoding.
        let mut inner = Message::default();
        inner.number(1, 150_u64);
        assert_eq!(inner.bytes(), [0x08, 0x96, 0x01]);
        let mut outer = Message::default();
        outer.text(2, "testing").message(3, &inner);
        let mut expected = vec![0x12, 7];
        expected.extend_from_slice(b"testing");
        expected.extend_from_slice(&[0x1a, 3, 0x08, 0x96, 0x01]);
        assert_eq!(outer.bytes(), expected);
        let read = fields(outer.bytes()).unwrap();
        assert_eq!(read[0], (2, Value::Bytes(b"testing")));
        assert_eq!(read[1], (3, Value::Bytes(inner.bytes())));
    }

    #[test]
    fn what_is_cut_short_or_no_message_is_none() {
        for bytes in [&[0x08][..], &[0x12, 7, b't'], &[0x0b], &[0xff; 11]] {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
        assert_eq!(fields(&[]), Some(vec![]));
    }
}
