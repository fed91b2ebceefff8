//! nftables' tables, chains and rules as messages. Pure. Not its job: which rules there are (firewall).

use sys::netlink::{Body, Message, NLM_F_ACK, NLM_F_CREATE};

use crate::expression::Expression;

/// The table's family: both kinds of addresses.
const NFPROTO_INET: u8 = 1;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_BATCH_GENID: u16 = 1;
const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_NEWGEN: u8 = 15;
const NFT_MSG_GETGEN: u8 = 16;
const NLM_F_APPEND: u16 = 0x800;
const NFTA_LIST_ELEM: u16 = 1;

/// Where in a packet's way a chain stands, with its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before anybody has looked where the packet goes.
    Prerouting,
    /// It goes to this machine.
    Input,
    /// It goes through this machine.
    Forward,
    /// It leaves, and gets its sender's address (type nat).
    Translation,
}

/// A chain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: Hook,
    /// Smaller comes earlier.
    pub(crate) priority: i32,
    pub(crate) rules: Vec<Vec<Expression>>,
}

impl Hook {
    /// The kernel's number and type.
    fn place(self) -> (u32, &'static str) {
        match self {
            Self::Prerouting => (0, "filter"),
            Self::Input => (1, "filter"),
            Self::Forward => (2, "filter"),
            Self::Translation => (4, "nat"),
        }
    }
}

/// The messages that put `chains` in the place of all that is in the table `table`, if nobody has changed any
/// rule since the generation `since`.
pub(crate) fn replace(table: &str, chains: &[Chain], since: u32) -> Vec<Message> {
    let mut messages = vec![begin(since), new_table(table), remove_table(table)];
    messages.push(new_table(table));
    for chain in chains {
        messages.push(new_chain(table, chain));
        for rule in &chain.rules {
            messages.push(new_rule(table, &chain.name, rule));
        }
    }
    messages.push(end());
    messages
}

/// The messages that remove the table, if nobody has changed any rule since the generation `since`.
pub(crate) fn remove(table: &str, since: u32) -> Vec<Message> {
    vec![begin(since), remove_table(table), end()]
}

/// Asks for the number of the last change of any rule.
pub(crate) fn generation() -> Message {
    Message {
        flags: 0,
        ..message("NFT_MSG_GETGEN", "", NFT_MSG_GETGEN, header(0, 0))
    }
}

/// That number in an answer.
pub(crate) fn generation_heard(kind: u16, body: &[u8]) -> Option<u32> {
    (kind == number_of(NFT_MSG_NEWGEN)).then_some(())?;
    let (_, value) = sys::netlink::attributes(body.get(4..)?).find(|(kind, _)| *kind == 1)?;
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// Asks for all chains.
pub(crate) fn chains() -> Message {
    Message {
        flags: sys::netlink::NLM_F_DUMP,
        ..message(
            "NFT_MSG_GETCHAIN",
            "",
            NFT_MSG_GETCHAIN,
            header(NFPROTO_INET, 0),
        )
    }
}

/// The table and the name of the chain of an answer.
pub(crate) fn chain_heard(kind: u16, body: &[u8]) -> Option<(String, String)> {
    (kind == number_of(NFT_MSG_NEWCHAIN)).then_some(())?;
    let text = |wanted| {
        let (_, value) =
            sys::netlink::attributes(body.get(4..)?).find(|(kind, _)| *kind == wanted)?;
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Some((text(1)?, text(3)?))
}

fn number_of(kind: u8) -> u16 {
    u16::from_be_bytes([NFNL_SUBSYS_NFTABLES, kind])
}

/// struct nfgenmsg.
fn header(family: u8, resource: u16) -> Body {
    let [high, low] = resource.to_be_bytes();
    Body::new(&[family, 0, high, low])
}

fn message(call: &'static str, subject: &str, kind: u8, body: Body) -> Message {
    Message {
        call,
        subject: subject.to_owned(),
        kind: number_of(kind),
        flags: NLM_F_ACK,
        body,
    }
}

fn begin(since: u32) -> Message {
    Message {
        call: "NFNL_MSG_BATCH_BEGIN",
        subject: String::new(),
        kind: NFNL_MSG_BATCH_BEGIN,
        flags: 0,
        body: header(0, NFNL_SUBSYS_NFTABLES.into()).with_be32(NFNL_BATCH_GENID, since),
    }
}

fn end() -> Message {
    Message {
        call: "NFNL_MSG_BATCH_END",
        subject: String::new(),
        kind: NFNL_MSG_BATCH_END,
        flags: 0,
        body: header(0, NFNL_SUBSYS_NFTABLES.into()),
    }
}

fn new_table(table: &str) -> Message {
    let body = header(NFPROTO_INET, 0).with_text(1, table);
    Message {
        flags: NLM_F_ACK | NLM_F_CREATE,
        ..message("NFT_MSG_NEWTABLE", table, NFT_MSG_NEWTABLE, body)
    }
}

fn remove_table(table: &str) -> Message {
    let body = header(NFPROTO_INET, 0).with_text(1, table);
    message("NFT_MSG_DELTABLE", table, NFT_MSG_DELTABLE, body)
}

fn new_chain(table: &str, chain: &Chain) -> Message {
    let (number, kind) = chain.hook.place();
    let hook = Body::default()
        .with_be32(1, number)
        .with_be32(2, chain.priority.cast_unsigned());
    let body = header(NFPROTO_INET, 0)
        .with_text(1, table)
        .with_text(3, &chain.name)
        .with_nested(4, hook)
        .with_text(7, kind);
    Message {
        flags: NLM_F_ACK | NLM_F_CREATE,
        ..message("NFT_MSG_NEWCHAIN", &chain.name, NFT_MSG_NEWCHAIN, body)
    }
}

fn new_rule(table: &str, chain: &str, rule: &[Expression]) -> Message {
    let mut list = Body::default();
    for expression in rule {
        for (name, data) in expression.parts() {
            let part = Body::default().with_text(1, name).with_nested(2, data);
            list = list.with_nested(NFTA_LIST_ELEM, part);
        }
    }
    let body = header(NFPROTO_INET, 0)
        .with_text(1, table)
        .with_text(2, chain)
        .with_nested(4, list);
    Message {
        flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND,
        ..message("NFT_MSG_NEWRULE", chain, NFT_MSG_NEWRULE, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_as_one() {
        let chain = Chain {
            name: "input".to_owned(),
            hook: Hook::Input,
            priority: -10,
            rules: vec![vec![Expression::From("dhow-b"), Expression::Drop]],
        };
        let calls: Vec<&str> = replace("dhow", &[chain], 7)
            .iter()
            .map(|m| m.call)
            .collect();
        assert_eq!(
            calls,
            [
                "NFNL_MSG_BATCH_BEGIN",
                "NFT_MSG_NEWTABLE",
                "NFT_MSG_DELTABLE",
                "NFT_MSG_NEWTABLE",
                "NFT_MSG_NEWCHAIN",
                "NFT_MSG_NEWRULE",
                "NFNL_MSG_BATCH_END",
            ]
        );
    }

    #[test]
    fn generation_and_chains_are_read_from_their_answers() {
        let body = header(0, 0).with_be32(1, 42);
        let kind = number_of(NFT_MSG_NEWGEN);
        assert_eq!(generation_heard(kind, body.bytes()), Some(42));
        assert_eq!(generation_heard(kind + 1, body.bytes()), None);
        let body = header(1, 0).with_text(1, "dhow").with_text(3, "input");
        let chain = chain_heard(number_of(NFT_MSG_NEWCHAIN), body.bytes());
        assert_eq!(chain, Some(("dhow".to_owned(), "input".to_owned())));
    }
}
