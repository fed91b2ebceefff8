//! state.json → a container's record, its status and what `state` prints: nothing is lost, nothing is made up.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use runtime::{ProcessId, Record, Status};
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 8 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    mutate::json(data, size, max_size, seed).unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(|bytes: &[u8]| {
    // As it is: whatever stands there, reading it ends in a record or in words.
    let _either = runtime::record_in(bytes);
    let Ok(mut record) = serde_json::from_slice::<Record>(bytes) else {
        return;
    };
    let mut line = br#"{"record":"#.to_vec();
    serde_json::to_writer(&mut line, &record).expect("a record can always be written");
    line.extend(b"}\n");
    let again = runtime::record_in(&line).expect("and read again");
    assert_eq!(again.as_ref(), Some(&record));
    let init = br#"{"init":{"pid":7,"start_time":9}}"#;
    let cut = [&line[..], init].concat();
    assert_eq!(runtime::record_in(&cut).expect("a cut line is none"), again);
    record.init = Some(ProcessId {
        pid: 7,
        start_time: 9,
    });
    let made = runtime::record_in(&[&cut[..], b"\n"].concat()).expect("a line is read");
    assert_eq!(made.as_ref(), Some(&record));
    for status in [
        Status::Creating,
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Stopped,
    ] {
        let report = record.report(status).to_json();
        let report: Value = serde_json::from_slice(&report).expect("a report is JSON");
        assert_eq!(report["status"], status.word());
        assert_eq!(report["id"], record.id.as_str());
        let gone = matches!(status, Status::Creating | Status::Stopped);
        assert!(!gone || report["pid"] == 0, "{report}");
    }
});
