//! An image's USER, passwd and group (apart by a byte 0) → ids: no id that stands nowhere, and nothing wraps around.
#![no_main]

use libfuzzer_sys::fuzz_target;

const MOST: u32 = i32::MAX.cast_unsigned();

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (user, passwd, group) = (part(), part(), part());
    let Ok(user) = std::str::from_utf8(user) else {
        return;
    };
    let found = match image::user::resolve(user, passwd, group) {
        Ok(found) => found,
        Err(e) => {
            let text = e.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{text}");
            return;
        }
    };
    assert!(found.uid <= MOST && found.gid <= MOST);
    assert!(found.additional_gids.iter().all(|gid| *gid <= MOST));
    assert_eq!(found.additional_gids.first(), Some(&found.gid));
    let mut once = found.additional_gids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), found.additional_gids.len());
    assert!(
        found.home.starts_with('/') && !found.home.contains('\n'),
        "{:?}",
        found.home
    );
    let (name, asked_group) = user
        .split_once(':')
        .map_or((user, None), |(u, g)| (u, Some(g)));
    named(name, found.uid, 2, passwd);
    if let Some(asked) = asked_group {
        named(asked, found.gid, 2, group);
    }
});

/// A number is that id; a name stands with this id in a line of the file. Nothing is root but root.
fn named(word: &str, id: u32, field: usize, file: &[u8]) {
    if word.is_empty() {
        return;
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = word.bytes().fold(0_u128, |all, digit| {
            all.saturating_mul(10)
                .saturating_add(u128::from(digit - b'0'))
        });
        assert_eq!(number, u128::from(id));
        return;
    }
    let stands = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let said = fields
            .get(field)
            .and_then(|id| std::str::from_utf8(id).ok());
        fields[0] == word.as_bytes() && said.is_some_and(|said| said.parse() == Ok(id))
    };
    assert!(
        file.split(|byte| *byte == b'\n').any(stands),
        "{word} is {id} by no line"
    );
}
