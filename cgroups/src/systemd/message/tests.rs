//! What is written reads as the specification says, and nothing that is read brings us down.

use proptest::prelude::*;

use super::*;

const TARGET: Target<'static> = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "StartTransientUnit",
};

/// A message of another kind than we write, made of one that we write.
fn received(kind: u8, body: &Body) -> Vec<u8> {
    let mut bytes = call(7, TARGET, body);
    bytes[1] = kind;
    bytes
}

#[test]
fn a_call_is_laid_out_as_the_specification_says() {
    let body = Body::default().text("a").bool(true);
    let target = Target {
        destination: "d",
        path: "/p",
        interface: "i",
        member: "m",
    };
    let expected = [
        b"l\x01\0\x01\x0c\0\0\0\x07\0\0\0\x48\0\0\0".as_slice(),
        b"\x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0",
        b"\x02\x01s\0\x01\0\0\0i\0\0\0\0\0\0\0",
        b"\x03\x01s\0\x01\0\0\0m\0\0\0\0\0\0\0",
        b"\x06\x01s\0\x01\0\0\0d\0\0\0\0\0\0\0",
        b"\x08\x01g\0\x02sb\0",
        b"\x01\0\0\0a\0\0\0\x01\0\0\0",
    ];
    let bytes = call(7, target, &body);
    assert_eq!(bytes, expected.concat());
}

#[test]
fn the_length_stands_in_the_head() {
    let bytes = call(7, TARGET, &Body::default().text("x"));
    let head = bytes[..HEAD].try_into().unwrap();
    assert_eq!(length(head), Some(bytes.len()));
    let mut big = *head;
    big[7] = 0x7f;
    assert_eq!(length(&big), None, "longer than anybody may be");
    big = *head;
    big[0] = b'B';
    assert_eq!(length(&big), None, "of another byte order");
}

#[test]
fn a_job_that_ended_is_known_by_its_path() {
    let mut body = Body::default().bool(true).text("/job/5").text("a.scope");
    body = body.text("done");
    body.signature = "uoss".to_owned();
    let mut message = Message::parse(&received(SIGNAL, &body)).unwrap();
    assert_eq!(message.job_removed(), None, "it is no JobRemoved");
    message.member = "JobRemoved".to_owned();
    let expected = ("/job/5".to_owned(), "done".to_owned());
    assert_eq!(message.job_removed(), Some(expected));
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ -~]{0,20}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        prop::collection::vec(any::<u32>(), 0..9).prop_map(Value::Numbers),
        prop::collection::vec("[a-z]{0,9}", 0..5).prop_map(Value::Texts),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        text in "\\PC{0,40}",
        properties in prop::collection::vec(("[A-Za-z]{1,20}", value()), 0..6),
    ) {
        let body = Body::default().text(&text).properties(&properties).no_units();
        let bytes = received(REPLY, &body);
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.text(), Some(text));
        prop_assert_eq!(&message.member, TARGET.member);
        prop_assert_eq!(message.signature, "sa(sv)a(sa(sv))");
        prop_assert_eq!(message.body.len() % 4, 0);
    }

    #[test]
    fn no_bytes_bring_the_reader_down(
        at in 0..200_usize, byte in any::<u8>(), cut in 0..200_usize, noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = received(SIGNAL, &Body::default().text("abc").bool(true));
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut.max(1));
        for bytes in [bytes, noise] {
            if let Some(message) = Message::parse(&bytes) {
                let _ = (message.text(), message.job_removed());
            }
        }
    }
}
