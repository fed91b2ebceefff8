//! Compressed bytes → what they inflate to, or words; never more than was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match image::fuzz::inflate(bytes, 1 << 20) {
        Ok(content) => assert!(content.len() <= 1 << 20),
        Err(e) => assert!(!e.to_string().is_empty()),
    }
});
