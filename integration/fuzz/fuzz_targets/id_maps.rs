//! Id maps → checked ranges: refused exactly where arithmetic without limits finds a fault, translated as it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use namespaces::IdMap;
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

fuzz_target!(|ranges: Vec<(u32, u32, u32)>| {
    let mappings: Vec<LinuxIdMapping> = ranges
        .iter()
        .filter_map(|(inside, outside, size)| {
            let mapping = LinuxIdMappingBuilder::default();
            mapping
                .container_id(*inside)
                .host_id(*outside)
                .size(*size)
                .build()
                .ok()
        })
        .collect();
    let mut problems = Vec::new();
    let map = IdMap::read("m", &mappings, &mut problems);
    assert_eq!(
        problems.is_empty(),
        sound(&ranges),
        "{ranges:?}: {problems:?}"
    );
    if !problems.is_empty() {
        return;
    }
    assert_eq!(map.to_string().lines().count(), ranges.len());
    for (inside, _, size) in &ranges {
        for id in [
            *inside,
            inside + size - 1,
            inside.wrapping_sub(1),
            inside.wrapping_add(*size),
        ] {
            let expected = ranges.iter().find(|(first, _, size)| {
                (u64::from(*first)..u64::from(*first) + u64::from(*size)).contains(&u64::from(id))
            });
            let expected = expected.map(|(first, outside, _)| id - first + outside);
            assert_eq!(map.outside(id), expected, "{id} in {ranges:?}");
        }
    }
});

fn sound(ranges: &[(u32, u32, u32)]) -> bool {
    let apart = |a: u32, b: u32, of_a: u32, of_b: u32| {
        let (a, b) = (u64::from(a), u64::from(b));
        a + u64::from(of_a) <= b || b + u64::from(of_b) <= a
    };
    let fits = |first: u32, size: u32| u64::from(first) + u64::from(size) <= u64::from(u32::MAX);
    ranges.len() <= 340
        && ranges
            .iter()
            .all(|(a, b, size)| *size > 0 && fits(*a, *size) && fits(*b, *size))
        && ranges.iter().enumerate().all(|(i, x)| {
            ranges[..i]
                .iter()
                .all(|y| apart(x.0, y.0, x.2, y.2) && apart(x.1, y.1, x.2, y.2))
        })
}
