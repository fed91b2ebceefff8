//! The ids of a user namespace as checked ranges. Pure. Not its job: handing them to the kernel (id_maps).

use std::fmt;

use oci_spec::runtime::LinuxIdMapping;

use crate::Error;

/// The kernel takes no more ranges than this (UID_GID_MAP_MAX_EXTENTS).
const MAX_RANGES: usize = 340;

/// `size` ids from `inside` on are, outside, those from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The user or the group ids of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// The ranges, as the spec lists them; none overlaps another.
    pub ranges: Vec<Range>,
}

impl IdMap {
    /// Reads the mappings at the JSON path `field`; every problem goes to `problems`.
    pub fn read(field: &str, mappings: &[LinuxIdMapping], problems: &mut Vec<Error>) -> Self {
        let ranges: Vec<_> = mappings
            .iter()
            .map(|mapping| Range {
                inside: mapping.container_id(),
                outside: mapping.host_id(),
                size: mapping.size(),
            })
            .collect();
        if ranges.len() > MAX_RANGES {
            problems.push(Error::spec(
                field,
                format!("{} ranges, the kernel takes {MAX_RANGES}", ranges.len()),
            ));
        }
        for (i, range) in ranges.iter().enumerate() {
            check(field, i, range, &ranges[..i], problems);
        }
        Self { ranges }
    }

    /// The id outside of the namespace that is `inside` in it.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            (offset < range.size).then(|| range.outside + offset)
        })
    }

    /// What is wrong with the ranges, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut problems = Vec::new();
        for (i, range) in self.ranges.iter().enumerate() {
            check("range", i, range, &self.ranges[..i], &mut problems);
        }
        problems.into_iter().find_map(|problem| match problem {
            Error::Spec { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// `range` with its second side, which counts inside of us, as it is outside; in parts where we map
    /// it in parts. `None` if some of it is not mapped.
    pub(crate) fn translate(&self, range: &Range) -> Option<Vec<Range>> {
        let mut parts = Vec::new();
        let mut done = 0;
        while done < range.size {
            let first = range.outside.checked_add(done)?;
            let ours = self
                .ranges
                .iter()
                .find(|ours| first >= ours.inside && first - ours.inside < ours.size)?;
            let offset = first - ours.inside;
            let size = (ours.size - offset).min(range.size - done);
            parts.push(Range {
                inside: range.inside.checked_add(done)?,
                outside: ours.outside.checked_add(offset)?,
                size,
            });
            done += size;
        }
        Some(parts).filter(|parts| !parts.is_empty())
    }

    /// Whether it maps one id alone: all that a caller without rights can map by itself.
    pub fn is_single(&self) -> bool {
        matches!(self.ranges[..], [Range { size: 1, .. }])
    }

    /// Whether it is nothing but the one id `id`: what the kernel lets its owner map.
    pub(crate) fn is_only(&self, id: u32) -> bool {
        matches!(self.ranges[..], [Range { outside, size: 1, .. }] if outside == id)
    }
}

fn check(field: &str, i: usize, range: &Range, before: &[Range], problems: &mut Vec<Error>) {
    let Range {
        inside,
        outside,
        size,
    } = *range;
    let mut problem = |member: &str, reason: String| {
        problems.push(Error::spec(format!("{field}[{i}].{member}"), reason));
    };
    if size == 0 {
        return problem("size", "0 ids are mapped".to_owned());
    }
    // The id 4294967295 is "no id" to the kernel, so a range ends before it.
    for (member, first) in [("containerID", inside), ("hostID", outside)] {
        if first.checked_add(size).is_none() {
            problem(
                member,
                format!("{size} ids from {first} on pass the last id, 4294967294"),
            );
        }
    }
    for (j, other) in before.iter().enumerate() {
        let meets = |a: u32, b: u32| {
            u64::from(a) < u64::from(b) + u64::from(other.size)
                && u64::from(b) < u64::from(a) + u64::from(size)
        };
        if meets(inside, other.inside) {
            problem("containerID", format!("overlaps {field}[{j}]"));
        }
        if meets(outside, other.outside) {
            problem("hostID", format!("overlaps {field}[{j}]"));
        }
    }
}

/// The lines that the kernel wants, all in one write.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for range in &self.ranges {
            writeln!(f, "{} {} {}", range.inside, range.outside, range.size)?;
        }
        Ok(())
    }
}

/// The ranges in words: `0-65535 to 100000`.
pub(crate) struct InWords<'a>(pub(crate) &'a IdMap);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let last = u64::from(range.inside) + u64::from(range.size) - 1;
            match range.size {
                1 => write!(f, "{separator}{} to {}", range.inside, range.outside)?,
                _ => write!(f, "{separator}{}-{last} to {}", range.inside, range.outside)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::tests::from_json;

    /// inside, outside, size
    type Triple = (u32, u32, u32);

    fn read(triples: &[Triple]) -> (IdMap, Vec<String>) {
        let mappings: Vec<LinuxIdMapping> = triples
            .iter()
            .map(|(inside, outside, size)| {
                from_json(&format!(
                    r#"{{"containerID":{inside},"hostID":{outside},"size":{size}}}"#
                ))
            })
            .collect();
        let mut problems = Vec::new();
        let map = IdMap::read("linux.uidMappings", &mappings, &mut problems);
        (map, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named_before() {
        let table: &[(&[Triple], &str)] = &[
            (
                &[(0, 1000, 0)],
                "linux.uidMappings[0].size: 0 ids are mapped",
            ),
            (
                &[(4_294_967_295, 0, 1)],
                "linux.uidMappings[0].containerID: 1 ids from 4294967295 on pass the last id, 4294967294",
            ),
            (
                &[(0, 4_294_967_290, 6)],
                "linux.uidMappings[0].hostID: 6 ids from 4294967290 on pass the last id, 4294967294",
            ),
            (
                &[(0, 1000, 10), (9, 2000, 1)],
                "linux.uidMappings[1].containerID: overlaps linux.uidMappings[0]",
            ),
            (
                &[(0, 1000, 10), (10, 1009, 1)],
                "linux.uidMappings[1].hostID: overlaps linux.uidMappings[0]",
            ),
        ];
        for (triples, expected) in table {
            assert_eq!(read(triples).1, [*expected]);
        }
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        let (map, problems) = read(&[(0, 1000, 10), (10, 990, 10), (20, 4_294_967_290, 5)]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(map.to_string(), "0 1000 10\n10 990 10\n20 4294967290 5\n");
    }

    #[test]
    fn more_ranges_than_the_kernel_takes_are_refused() {
        let triples: Vec<_> = (0..341).map(|i| (i, i, 1)).collect();
        assert_eq!(
            read(&triples).1,
            ["linux.uidMappings: 341 ranges, the kernel takes 340"]
        );
    }

    #[test]
    fn an_id_is_found_outside() {
        let (map, _) = read(&[(0, 1000, 1), (1, 100_000, 10)]);
        let table = [
            (0, Some(1000)),
            (1, Some(100_000)),
            (10, Some(100_009)),
            (11, None),
        ];
        for (inside, outside) in table {
            assert_eq!(map.outside(inside), outside, "id {inside}");
        }
    }
}
