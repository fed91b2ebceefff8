//! state.json → a container's record, its status and what `state` prints: nothing is lost, nothing is made up.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use runtime::{Record, Status};
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 8 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    mutate::json(data, size, max_size, seed).unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else {
        return;
    };
    let again = serde_json::to_vec(&record).expect("a record can always be written");
    let again: Record = serde_json::from_slice(&again).expect("and read again");
    assert_eq!(again, record);
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
