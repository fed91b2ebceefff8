//! The parts of packet rules, in our words and in the kernel's. Pure. Not its job: tables and chains (rule).

use sys::netlink::Body;

const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

/// A part of a rule: a condition, or what is done with packets that have met those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// It came by a device whose name begins so.
    From(&'static str),
    /// It leaves by a device whose name begins so.
    To(&'static str),
    /// It came by this very device.
    FromDevice(String),
    /// It does not leave by a device whose name begins so.
    NotTo(&'static str),
    /// It belongs to a connection that both sides know of.
    Answers,
    /// It goes to an address of this machine.
    ToThisMachine,
    /// It is of IPv4, and its receiver begins with these bytes.
    ToV4(Vec<u8>),
    /// It is of IPv6, and its receiver begins with these bytes.
    ToV6(Vec<u8>),
    /// Its receiver's port.
    ToPort(u16),
    /// A message of ICMPv6 of this type.
    Icmp6(u8),
    Accept,
    Drop,
    /// It is of TCP.
    Tcp,
    /// Its sender's connection is reset at once; for TCP alone.
    Reset,
    /// Its sender is told that it is not allowed. A TCP that is just connecting does not listen to that.
    Refuse,
    /// It gets the address of the device by which it leaves.
    Translate,
}

/// The kernel's own small expressions.
pub(crate) type Parts = Vec<(&'static str, Body)>;

/// How a value of a packet is compared.
#[derive(Clone, Copy)]
enum Is {
    Equal,
    Other,
}

const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

impl Expression {
    /// The kernel's expressions, by name, each with its attributes.
    pub(crate) fn parts(&self) -> Parts {
        // A number that the kernel keeps in its own order.
        let own = |number: u32| number.to_ne_bytes();
        match self {
            Self::From(name) => vec![
                load("meta", NFT_META_IIFNAME),
                compare(Is::Equal, name.as_bytes()),
            ],
            Self::To(name) => vec![
                load("meta", NFT_META_OIFNAME),
                compare(Is::Equal, name.as_bytes()),
            ],
            Self::NotTo(name) => vec![
                load("meta", NFT_META_OIFNAME),
                compare(Is::Other, name.as_bytes()),
            ],
            Self::FromDevice(name) => {
                let mut whole = name.as_bytes().to_vec();
                whole.resize(16, 0);
                vec![load("meta", NFT_META_IIFNAME), compare(Is::Equal, &whole)]
            }
            // ESTABLISHED and RELATED.
            Self::Answers => vec![load("ct", 0), bits(own(2 | 4)), compare(Is::Other, &own(0))],
            Self::ToThisMachine => vec![address_type(), compare(Is::Equal, &own(2))],
            Self::ToV4(bytes) => receiver(2, 16, bytes),
            Self::ToV6(bytes) => receiver(10, 24, bytes),
            Self::ToPort(port) => vec![
                payload(TRANSPORT_HEADER, 2, 2),
                compare(Is::Equal, &port.to_be_bytes()),
            ],
            Self::Icmp6(kind) => vec![
                load("meta", NFT_META_L4PROTO),
                compare(Is::Equal, &[58]),
                payload(TRANSPORT_HEADER, 0, 1),
                compare(Is::Equal, &[*kind]),
            ],
            Self::Accept => vec![verdict(1)],
            Self::Drop => vec![verdict(0)],
            // Of whatever family; code 3: prohibited by an administrator.
            Self::Refuse => vec![("reject", Body::default().with_be32(1, 2).with(2, &[3]))],
            Self::Tcp => vec![load("meta", NFT_META_L4PROTO), compare(Is::Equal, &[6])],
            Self::Reset => vec![("reject", Body::default().with_be32(1, 1).with(2, &[0]))],
            Self::Translate => vec![("masq", Body::default())],
        }
    }
}

fn load(name: &'static str, key: u32) -> (&'static str, Body) {
    let body = Body::default().with_be32(1, NFT_REG_1).with_be32(2, key);
    (name, body)
}

fn compare(is: Is, value: &[u8]) -> (&'static str, Body) {
    let operation = match is {
        Is::Equal => 0,
        Is::Other => 1,
    };
    let body = Body::default()
        .with_be32(1, NFT_REG_1)
        .with_be32(2, operation)
        .with_nested(3, Body::default().with(NFTA_DATA_VALUE, value));
    ("cmp", body)
}

fn bits(mask: [u8; 4]) -> (&'static str, Body) {
    let value = |bytes: &[u8]| Body::default().with(NFTA_DATA_VALUE, bytes);
    let body = Body::default()
        .with_be32(1, NFT_REG_1)
        .with_be32(2, NFT_REG_1)
        .with_be32(3, 4)
        .with_nested(4, value(&mask))
        .with_nested(5, value(&[0; 4]));
    ("bitwise", body)
}

fn payload(base: u32, offset: u32, length: u32) -> (&'static str, Body) {
    let body = Body::default()
        .with_be32(1, NFT_REG_1)
        .with_be32(2, base)
        .with_be32(3, offset)
        .with_be32(4, length);
    ("payload", body)
}

fn receiver(family: u8, offset: u32, bytes: &[u8]) -> Parts {
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    vec![
        load("meta", NFT_META_NFPROTO),
        compare(Is::Equal, &[family]),
        payload(NETWORK_HEADER, offset, length),
        compare(Is::Equal, bytes),
    ]
}

/// The kind of the receiver's address: RTN_LOCAL is 2.
fn address_type() -> (&'static str, Body) {
    const RESULT_TYPE: u32 = 3;
    const OF_RECEIVER: u32 = 2;
    let body = Body::default()
        .with_be32(1, NFT_REG_1)
        .with_be32(2, RESULT_TYPE)
        .with_be32(3, OF_RECEIVER);
    ("fib", body)
}

fn verdict(code: u32) -> (&'static str, Body) {
    let verdict =
        Body::default().with_nested(NFTA_DATA_VERDICT, Body::default().with_be32(1, code));
    let body = Body::default()
        .with_be32(1, NFT_REG_VERDICT)
        .with_nested(2, verdict);
    ("immediate", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_by_its_beginning_or_as_a_whole() {
        let bytes = |expression: Expression| expression.parts()[1].1.bytes().to_vec();
        let begins = bytes(Expression::From("dhow-b"));
        let whole = bytes(Expression::FromDevice("eth0".to_owned()));
        assert!(begins.ends_with(b"dhow-b\0\0"), "{begins:?}");
        assert!(
            whole.ends_with(b"eth0\0\0\0\0\0\0\0\0\0\0\0\0"),
            "{whole:?}"
        );
    }
}
