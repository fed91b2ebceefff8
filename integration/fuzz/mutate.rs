//! Changes JSON as JSON, tars as tars and recipes as recipes: a value, field or line at a random place becomes another,
//! goes away, or is doubled. Bytes changed at random would hardly get past a parser or a checksum. Not its job: choosing
//! inputs.

use serde_json::{Value, json};

/// A source of numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// Changes the JSON in the first `size` bytes of `data`; gives the new size, and none if it is no JSON or grows too large.
pub fn json(data: &mut [u8], size: usize, most: usize, seed: u32) -> Option<usize> {
    let mut value: Value = serde_json::from_slice(&data[..size]).ok()?;
    let mut chance = Chance(u64::from(seed) << 1 | 1);
    for _ in 0..=chance.below(3) {
        let places = count(&value);
        let mut place = chance.below(places);
        change(&mut value, &mut place, &mut chance);
    }
    let text = serde_json::to_vec(&value).ok()?;
    data.get_mut(..text.len().min(most))
        .filter(|room| room.len() == text.len())?
        .copy_from_slice(&text);
    Some(text.len())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that is `place` steps ahead, in the order of [`count`].
fn change(value: &mut Value, place: &mut usize, chance: &mut Chance) {
    if *place == 0 {
        *place = usize::MAX;
        return replace(value, chance);
    }
    *place -= 1;
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| change(v, place, chance)),
        Value::Object(map) => map.values_mut().for_each(|v| change(v, place, chance)),
        _ => {}
    }
}

fn replace(value: &mut Value, chance: &mut Chance) {
    match value {
        Value::Array(list) if chance.below(2) == 0 && !list.is_empty() => {
            let at = chance.below(list.len());
            match chance.below(3) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                _ => {
                    let last = list.len() - 1;
                    list.swap(at, last);
                }
            }
        }
        Value::Object(map) if chance.below(2) == 0 && !map.is_empty() => {
            let key = map.keys().nth(chance.below(map.len())).cloned();
            if let Some(key) = key {
                map.shift_remove(&key);
            }
        }
        Value::Number(number) if chance.below(2) == 0 => {
            let number = number.as_i64().unwrap_or(0);
            let by = [1, -1, 2, 1000][chance.below(4)];
            *value = json!(number.wrapping_add(by));
        }
        Value::String(text) if chance.below(2) == 0 => {
            let pieces = ["/", "..", "\n", "\0", "a", ".", "-", ":", "ü", "%"];
            text.push_str(pieces[chance.below(pieces.len())]);
        }
        _ => {
            let others = [
                json!(null),
                json!(true),
                json!(0),
                json!(-1),
                json!(4_294_967_295_u32),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(""),
                json!("/"),
                json!("../.."),
                json!("x\ny"),
                json!([]),
                json!({}),
            ];
            *value = others[chance.below(others.len())].clone();
        }
    }
}

/// The unit of a tar.
const BLOCK: usize = 512;

/// Where the fields of a header begin, and their lengths.
const FIELDS: [(usize, usize); 16] = [
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 6),
    (263, 2),
    (329, 8),
    (337, 8),
    (345, 155),
    (386, 12),
    (482, 1),
    (483, 12),
];

/// What may stand in one.
const VALUES: [&[u8]; 30] = [
    b"",
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"7",
    b"L",
    b"K",
    b"x",
    b"g",
    b"S",
    b"\0",
    b"a",
    b"a/b/",
    b"./a//b",
    b"..",
    b" 12 ",
    b"0000012\0",
    b"00000001000\0",
    b"-1",
    b"\x80\0\0\0\0\0\0\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"ustar\x0000",
    b"ustar  \0",
    b"tar\0",
    b"7777777",
];

/// Changes the first `size` bytes of `data`, a tar, in a field, a record or a block; gives the new size.
pub fn tar(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut chance = Chance(u64::from(seed) << 1 | 1);
    let mut size = size;
    for _ in 0..=chance.below(3) {
        let blocks = size / BLOCK;
        if blocks == 0 {
            return size;
        }
        let at = chance.below(blocks) * BLOCK;
        match chance.below(8) {
            // A block once more, at the end or in place of another.
            0 if size + BLOCK <= most => {
                data.copy_within(at..at + BLOCK, size);
                size += BLOCK;
            }
            1 => {
                let to = chance.below(blocks) * BLOCK;
                data.copy_within(at..at + BLOCK, to);
            }
            2 => {
                data.copy_within(at + BLOCK..size, at);
                size -= BLOCK;
            }
            // A byte of what may be a record.
            3 => data[at + chance.below(40)] = b"0123456789=\n. -/apx"[chance.below(19)],
            _ => {
                let (start, length) = FIELDS[chance.below(FIELDS.len())];
                let value = VALUES[chance.below(VALUES.len())];
                let field = &mut data[at + start..at + start + length];
                let length = value.len().min(length);
                field[..length].copy_from_slice(&value[..length]);
                if chance.below(2) == 0 {
                    field[length..].fill(0);
                }
            }
        }
    }
    checked(data, size)
}

/// Sets the checksum of every block that could be a header.
pub fn checked(data: &mut [u8], size: usize) -> usize {
    for block in data[..size].chunks_exact_mut(BLOCK) {
        let header = block[148..154].iter().all(|b| (b'0'..=b'7').contains(b)) && block[154] == 0;
        if header {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    size
}

/// Pieces of recipes: instructions, flags, and what words are made of.
const PIECES: [&str; 64] = [
    "FROM scratch\n",
    "FROM base AS a\n",
    "FROM a AS tools\n",
    "FROM $A\n",
    "ARG A=1\n",
    "ARG A=$A$A\n",
    "ARG B\n",
    "ENV A=b C=\"d $A\"\n",
    "ENV old form\n",
    "LABEL a=${A:-x}\n",
    "RUN x\n",
    "RUN [\"a\", \"b\"]\n",
    "RUN <<E\nx\nE\n",
    "RUN <<-'E' cat\n\tx\nE\n",
    "RUN --mount=type=cache,target=/c x\n",
    "RUN --mount=from=a,target=/m x\n",
    "COPY a b\n",
    "COPY --from=0 a b\n",
    "COPY --from=tools --chmod=u+x a b/\n",
    "COPY <<a <<b /d/\n$A\na\nb\n",
    "ADD http://h/f /f\n",
    "WORKDIR /$A/../b\n",
    "USER a:b\n",
    "EXPOSE 1-9/udp\n",
    "VOLUME [\"/v\"]\n",
    "CMD x\n",
    "ENTRYPOINT [\"a\"]\n",
    "SHELL [\"a\"]\n",
    "STOPSIGNAL TERM\n",
    "HEALTHCHECK --interval=1s CMD x\n",
    "ONBUILD RUN x\n",
    "ONBUILD COPY <<E /e\nx\nE\n",
    "MAINTAINER m\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "# syntax=docker/dockerfile:1\n",
    " \\\n",
    "\\\n\n",
    "# c\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "$",
    "${",
    "}",
    "${A#*}",
    "${A%%?b}",
    "${A/a/$B}",
    "${A//*/${B:+$A}}",
    "${A:?no}",
    "--",
    "--x=",
    "<<",
    "<<<",
    "=",
    ",",
    "[",
    "]",
    "\u{feff}",
    "\u{fc}",
    "65536-70000",
];

/// Changes the recipe in the first `size` bytes of `data`: lines are doubled, left out, swapped, and pieces put between
/// letters or lines. Gives the new size; what grows too large is cut.
pub fn recipe(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let Ok(text) = std::str::from_utf8(&data[..size]) else {
        return size;
    };
    let mut chance = Chance(u64::from(seed) << 1 | 1);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for _ in 0..=chance.below(4) {
        let at = chance.below(lines.len());
        let piece = PIECES[chance.below(PIECES.len())];
        match (chance.below(8), lines.get(at).cloned()) {
            (0, Some(line)) => lines.insert(chance.below(lines.len()), line),
            (1, Some(_)) => drop(lines.remove(at)),
            (2, Some(_)) => lines.swap(at, 0),
            (3, Some(line)) => lines[at] = line.repeat(1 + chance.below(8)),
            (4..=5, Some(mut line)) => {
                let place = line.floor_char_boundary(chance.below(line.len() + 1));
                line.insert_str(place, piece);
                lines[at] = line;
            }
            _ => lines.insert(at, piece.to_owned()),
        }
    }
    let text = lines.concat();
    let end = text.floor_char_boundary(text.len().min(most).min(data.len()));
    data[..end].copy_from_slice(&text.as_bytes()[..end]);
    end
}
