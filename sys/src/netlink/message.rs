//! Netlink's messages and attributes as bytes. Pure. Not its job: sockets, what a message means.

/// A request to the kernel, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request's name in the kernel's words, for errors: `RTM_NEWLINK`.
    pub call: &'static str,
    /// What it is about, for errors.
    pub subject: String,
    /// The kind (nlmsg_type).
    pub kind: u16,
    /// The flags beside NLM_F_REQUEST.
    pub flags: u16,
    /// The family's own header and the attributes.
    pub body: Body,
}

impl Message {
    /// The bytes of the message with this number.
    pub(super) fn bytes(&self, sequence: u32) -> Vec<u8> {
        let body = &self.body.bytes;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }
}

/// How long a message's header is.
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
/// An attribute that holds attributes.
const NLA_F_NESTED: u16 = 0x8000;

/// What follows a message's header: the family's header, then attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// Begins with the family's header.
    pub fn new(header: &[u8]) -> Self {
        let mut bytes = header.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Self { bytes }
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an attribute.
    ///
    /// # Panics
    /// For a value of 64 KiB: names, numbers and addresses are short.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("names and addresses are short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text, which ends with a zero byte.
    #[must_use]
    pub fn with_text(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// Adds a number in the order of the network, as netfilter wants it.
    #[must_use]
    pub fn with_be32(self, kind: u16, number: u32) -> Self {
        self.with(kind, &number.to_be_bytes())
    }

    /// Adds an attribute that holds others.
    #[must_use]
    pub fn with_nested(self, kind: u16, inner: Self) -> Self {
        self.with(kind | NLA_F_NESTED, &inner.bytes)
    }
}

/// The attributes in `bytes`; what is cut short ends them.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || next_attribute(&mut rest))
}

/// A message that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

pub(super) fn next_message<'a>(rest: &mut &'a [u8]) -> Option<Heard<'a>> {
    let length = usize::try_from(number(rest.get(..4)?)).ok()?;
    let short = |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let heard = Heard {
        kind: short(4)?,
        flags: short(6)?,
        sequence: number(rest.get(8..12)?),
        body: rest.get(HEADER..length)?,
    };
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(heard)
}

fn next_attribute<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
    let value = rest.get(4..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    // The two upper bits say how it is coded.
    Some((kind & 0x3fff, value))
}

/// The first four bytes as a number in our own order.
pub fn number(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_ne_bytes(four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_short_is_none() {
        let mut rest: &[u8] = &[99, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(next_message(&mut rest), None);
        let mut rest: &[u8] = &[9, 0, 1, 0];
        assert_eq!(next_attribute(&mut rest), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let inner = Body::default().with_be32(7, 1);
        let body = Body::new(&[9])
            .with_text(1, "eth0")
            .with_nested(2, inner.clone());
        assert_eq!(body.bytes().len() % 4, 0);
        let list: Vec<(u16, &[u8])> = attributes(&body.bytes()[4..]).collect();
        assert_eq!(list, [(1, &b"eth0\0"[..]), (2, inner.bytes())]);
    }
}
