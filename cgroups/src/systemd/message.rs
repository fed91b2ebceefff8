//! Messages of D-Bus, as far as systemd is asked anything (D-Bus Specification, "Message Protocol"): written
//! in little-endian order, read with limits, for what is at the other end may be anybody's program.
//! Pure. Not its job: the socket (bus), and what is said (its callers).

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `s`.
    Text(String),
    /// `b`.
    Bool(bool),
    /// `i`.
    I32(i32),
    /// `t`.
    U64(u64),
    /// `ay`.
    Bytes(Vec<u8>),
    /// `au`.
    Numbers(Vec<u32>),
    /// `as`.
    Texts(Vec<String>),
}

/// A named value.
pub(super) type Property = (String, Value);

/// No message of systemd's that we ask for is longer; the protocol itself allows 128 MiB.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// The length of what tells how long a message is.
pub(super) const HEAD: usize = 16;

const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// The body of a call, one argument after the other.
#[derive(Debug, Default)]
pub(super) struct Body {
    signature: String,
    bytes: Writer,
}

impl Body {
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.bytes.text(text);
        self
    }

    pub(super) fn bool(mut self, value: bool) -> Self {
        self.signature.push('b');
        self.bytes.u32(u32::from(value));
        self
    }

    /// `a(sv)`.
    pub(super) fn properties(mut self, properties: &[Property]) -> Self {
        self.signature.push_str("a(sv)");
        self.bytes.array(8, |bytes| {
            for (name, value) in properties {
                bytes.align(8);
                bytes.text(name);
                bytes.variant(value);
            }
        });
        self
    }

    /// `a(sa(sv))` of nothing: units to be started along.
    pub(super) fn no_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.bytes.array(8, |_| {});
        self
    }
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A whole call.
pub(super) fn call(serial: u32, target: Target<'_>, body: &Body) -> Vec<u8> {
    let mut out = Writer::default();
    out.0.extend([b'l', CALL, 0, 1]);
    out.u32(u32::try_from(body.bytes.0.len()).unwrap_or(u32::MAX));
    out.u32(serial);
    out.array(8, |out| {
        for (code, kind, text) in [
            (1, "o", target.path),
            (2, "s", target.interface),
            (3, "s", target.member),
            (6, "s", target.destination),
        ] {
            out.align(8);
            out.0.push(code);
            out.signature(kind);
            out.text(text);
        }
        if !body.signature.is_empty() {
            out.align(8);
            out.0.push(8);
            out.signature("g");
            out.signature(&body.signature);
        }
    });
    out.align(8);
    out.0.extend(&body.bytes.0);
    out.0
}

#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements begin at multiples of `to`; its length counts from the first of them.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(to);
        let begin = self.0.len();
        fill(self);
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Bool(value) => {
                self.signature("b");
                self.u32(u32::from(*value));
            }
            Value::I32(value) => {
                self.signature("i");
                self.u32(value.cast_unsigned());
            }
            Value::U64(value) => {
                self.signature("t");
                self.align(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |out| out.0.extend(bytes));
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |out| numbers.iter().for_each(|n| out.u32(*n)));
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |out| texts.iter().for_each(|text| out.text(text)));
            }
        }
    }
}

/// A message that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// [`REPLY`], [`ERROR`], [`SIGNAL`] or a call, which nobody has reason to make to us.
    pub(super) kind: u8,
    /// The serial of the call that it answers.
    pub(super) answers: u32,
    /// The signal's name.
    pub(super) member: String,
    /// The error's name.
    pub(super) error: String,
    signature: String,
    body: Vec<u8>,
}

/// How long the message is whose first [`HEAD`] bytes these are; none for what is no message for us.
pub(super) fn length(head: &[u8; HEAD]) -> Option<usize> {
    if head[0] != b'l' || head[3] != 1 {
        return None;
    }
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let fields = HEAD.checked_add(number(12)?)?.checked_next_multiple_of(8)?;
    let all = fields.checked_add(number(4)?)?;
    (all <= MAX_MESSAGE).then_some(all)
}

impl Message {
    /// Reads a whole message; none for what is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut message = Self {
            kind: *bytes.get(1)?,
            ..Self::default()
        };
        let head: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        if length(head)? != bytes.len() {
            return None;
        }
        let mut reader = Reader { bytes, at: 12 };
        let fields = usize::try_from(reader.u32()?).ok()?;
        let end = HEAD.checked_add(fields)?;
        while reader.at < end {
            reader.align(8)?;
            let code = reader.byte()?;
            match (reader.signature()?.as_str(), code) {
                ("s", 3) => message.member = reader.text()?,
                ("s", 4) => message.error = reader.text()?,
                ("u", 5) => message.answers = reader.u32()?,
                ("g", 8) => message.signature = reader.signature()?,
                ("s" | "o", _) => drop(reader.text()?),
                ("u", _) => drop(reader.u32()?),
                ("g", _) => drop(reader.signature()?),
                _ => return None,
            }
        }
        if reader.at != end {
            return None;
        }
        let body = bytes.get(end.checked_next_multiple_of(8)?..)?;
        message.body = body.to_vec();
        Some(message)
    }

    /// The first argument, if it is text, a path, or a variant of these.
    pub(super) fn text(&self) -> Option<String> {
        let mut reader = self.reader();
        match self.signature.as_bytes().first()? {
            b's' | b'o' => reader.text(),
            b'v' => match reader.signature()?.as_str() {
                "s" | "o" => reader.text(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The job's path and its result, if this is systemd's signal JobRemoved (`uoss`).
    pub(super) fn job_removed(&self) -> Option<(String, String)> {
        if self.kind != SIGNAL || self.member != "JobRemoved" || self.signature != "uoss" {
            return None;
        }
        let mut reader = self.reader();
        reader.u32()?;
        let path = reader.text()?;
        reader.text()?;
        Some((path, reader.text()?))
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            bytes: &self.body,
            at: 0,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// Text of this length and the zero after it.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests;
