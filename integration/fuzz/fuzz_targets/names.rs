//! A text → an image's name or a digest, which says itself again and nothing else.
#![no_main]

use image::{Digest, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Reference>() {
        let whole = name.to_string();
        assert_eq!(
            whole.parse::<Reference>().ok().map(|name| name.to_string()),
            Some(whole.clone())
        );
        assert!(!whole.contains("..") || !whole.contains("/../"), "{whole}");
        assert!(whole.bytes().all(|b| b.is_ascii_graphic()), "{whole:?}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
