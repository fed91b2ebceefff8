//! JSON that nobody may trust: read so that no other reader can see something else in it.
//! Not its job: what the documents mean.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The largest manifest, index or config (CVE-2023-25153).
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// How deep arrays and objects may nest.
const MAX_DEPTH: u32 = 64;

/// Parses one document. A repeated key, bytes behind the document, a byte order mark, text that is not
/// UTF-8, too much depth or length are refused: parsers differ on each.
pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::refused(
            what,
            format!("larger than {MAX_DOCUMENT} bytes"),
        ));
    }
    let fault = |e: serde_json::Error| Error::Json {
        what: what.to_owned(),
        fault: e.to_string(),
    };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }
        .deserialize(&mut parser)
        .map_err(fault)?;
    parser.end().map_err(fault)?;
    Ok(value)
}

/// The document as an object none of whose keys is a known one in other letters: Go would take
/// `"Layers"` for `"layers"`, others would not.
pub(crate) fn object<'a>(
    what: &str,
    value: &'a Value,
    known: &[&str],
) -> Result<&'a Map<String, Value>> {
    let Value::Object(object) = value else {
        return Err(Error::refused(what, "it is no JSON object"));
    };
    for key in object.keys() {
        let alike = |known: &&&str| known.eq_ignore_ascii_case(key) && **known != key;
        if let Some(known) = known.iter().find(alike) {
            let rule = format!("the key {key:?} differs from {known:?} only by case");
            return Err(Error::refused(what, rule));
        }
    }
    Ok(object)
}

struct Strict {
    depth: u32,
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Self {
                depth: self.depth + 1,
            }),
            false => Err(E::custom(format!("nested deeper than {MAX_DEPTH}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element_seed(self.deeper()?)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            let value = object.next_value_seed(self.deeper()?)?;
            let known = values.insert(key.clone(), value).is_some();
            if known && !sys::fault::broken("no-strict-json") {
                return Err(A::Error::custom(format!("the key {key:?} stands twice")));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_json_is_read_in_its_order() {
        let value = parse("x", br#" {"b":1,"a":[null,true,-2,1.5,"\u00e4"]} "#).unwrap();
        assert_eq!(value.to_string(), r#"{"b":1,"a":[null,true,-2,1.5,"ä"]}"#);
    }

    #[test]
    fn what_parsers_differ_on_is_refused() {
        let deep = [vec![b'['; 65], vec![b']'; 65]].concat();
        let just_right = [vec![b'['; 64], vec![b']'; 64]].concat();
        assert!(parse("x", &just_right).is_ok());
        let huge = format!("\"{}\"", "a".repeat(4 << 20));
        for bytes in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":{"b":1,"b":2}}"#,
            br#"{"a":1}{"#,
            br#"{"a":1} x"#,
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            br#""\ud800""#,
            b"1e400",
            b"01",
            b"NaN",
            b"",
            b"{'a':1}",
            &deep,
            huge.as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert!(parse("x", bytes).is_err(), "{shown} was taken");
        }
    }

    #[test]
    fn a_key_in_other_letters_is_refused() {
        let value = parse("x", br#"{"Layers":[]}"#).unwrap();
        assert!(object("x", &value, &["layers"]).is_err());
        assert!(object("x", &value, &["config"]).is_ok());
    }
}
