//! Changes JSON as JSON: a value at a random place becomes another, goes away, or is doubled. Bytes changed at random
//! would hardly get past a parser, and it is not the parser that is to be tested. Not its job: choosing inputs.

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
