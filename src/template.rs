//! `--format`: objects as JSON, or a line for each by a template of `{FIELD}` (docs/images.md has its rules). Pure.
//! Not its job: what the objects hold.

use serde_json::Value;

use crate::report::{Failure, because, unbroken, visible};

/// How a command shows what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// One JSON array.
    Json,
    /// A line for each object.
    Lines(Template),
}

/// Text with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A way into the object; without steps the whole of it.
    Field(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Number(usize),
}

impl Format {
    /// The value of `--format`, for clap.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ if !text.contains('{') => {
                Err("no table, no json, and no template: it has no {FIELD}".to_owned())
            }
            _ => Template::parse(text).map(Self::Lines),
        }
    }

    /// What a program gets of `objects`; `None` where a person wants a table.
    pub(crate) fn for_programs(&self, objects: &[Value]) -> Result<Option<String>, Failure> {
        Ok(match self {
            Self::Table => None,
            Self::Json => Some(json(&Value::Array(objects.to_vec()))? + "\n"),
            Self::Lines(template) => {
                let lines = objects.iter().map(|object| template.line(object));
                Some(lines.collect::<Result<String, _>>()?)
            }
        })
    }
}

/// JSON that steers no terminal: serde leaves the controls beyond ASCII as they are.
pub(crate) fn json(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(because)?;
    Ok(escaped(&text))
}

/// Control characters in JSON text stand in strings alone, but for line ends.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        let mut single = [0; 4];
        let one = c.encode_utf8(&mut single);
        if visible(one) == *one {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\\' => {
                    let next = rest.chars().next();
                    plain.push(match next {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some(c @ ('{' | '}' | '\\')) => c,
                        _ => {
                            return Err(format!(
                                "after \\ stands one of n t {{ }} \\, not {next:?}"
                            ));
                        }
                    });
                    rest = &rest[1..];
                }
                '{' if rest.starts_with('{') => {
                    let hint =
                        "Go templates are not taken; write {Id} for {{.Id}} (docs/images.md)";
                    return Err(hint.to_owned());
                }
                '{' => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    let (field, behind) = field(rest)?;
                    pieces.push(Piece::Field(field));
                    rest = behind;
                }
                '}' => return Err("a } without its {; a plain one is \\}".to_owned()),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The line of one object.
    fn line(&self, object: &Value) -> Result<String, Failure> {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field(steps) => line.push_str(&shown(lookup(object, steps)?)),
            }
        }
        line.push('\n');
        Ok(line)
    }
}

/// The way up to the closing brace, and what stands behind it: `Config.Env[0]`, `Config.Labels["a.b"]`.
fn field(text: &str) -> Result<(Vec<Step>, &str), String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((steps, behind));
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, behind) = bracketed(inner)?;
            steps.push(step);
            rest = behind;
            continue;
        }
        let name = match steps.is_empty() {
            true => rest,
            false => rest.strip_prefix('.').ok_or_else(|| open(text))?,
        };
        let word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let end = name.find(|c| !word(c)).ok_or_else(|| open(text))?;
        if end == 0 {
            return Err(format!(
                "{:?}: a field is names with dots between",
                cut(text)
            ));
        }
        steps.push(Step::Name(name[..end].to_owned()));
        rest = &name[end..];
    }
}

/// Behind `[`: a number, or a JSON string.
fn bracketed(text: &str) -> Result<(Step, &str), String> {
    let mut read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let step = match read.next() {
        Some(Ok(Value::String(name))) => Some(Step::Name(name)),
        Some(Ok(Value::Number(number))) => {
            let number = number.as_u64().and_then(|n| usize::try_from(n).ok());
            number.map(Step::Number)
        }
        _ => None,
    };
    let behind = text[read.byte_offset()..].strip_prefix(']');
    match (step, behind) {
        (Some(step), Some(behind)) => Ok((step, behind)),
        _ => Err(format!(
            "[{:?}: in brackets stands a number or a \"name\"",
            cut(text)
        )),
    }
}

fn open(text: &str) -> String {
    format!("{:?}: a field ends with }}", cut(text))
}

/// So much of a template as a message needs.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What a field leads to. The first name must be one of dhow's own; what an image may have or not have is empty.
fn lookup<'a>(object: &'a Value, steps: &[Step]) -> Result<&'a Value, Failure> {
    let mut here = object;
    for (depth, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Name(name) => here.get(name),
            Step::Number(n) => here.get(n),
        };
        here = match next {
            Some(next) => next,
            None if depth > 0 => return Ok(&Value::Null),
            None => {
                let known = object.as_object().into_iter().flat_map(|o| o.keys());
                let known: Vec<&str> = known.map(String::as_str).collect();
                let step = match step {
                    Step::Name(name) => name.clone(),
                    Step::Number(n) => format!("[{n}]"),
                };
                return Err(Failure::new(format!(
                    "--format: no field {step:?}; there are {}",
                    known.join(", ")
                )));
            }
        };
    }
    Ok(here)
}

/// A value within a line: texts as they are, but for what would steer a terminal or begin another line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => unbroken(&visible(text)),
        other => escaped(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(template: &str, object: &Value) -> String {
        let Ok(Format::Lines(template)) = Format::parse(template) else {
            panic!("{template} is refused")
        };
        template.line(object).unwrap()
    }

    #[test]
    fn fields_are_found_by_names_and_numbers() {
        let object = json!({"Id": "x", "Size": 5, "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "l"}}});
        for (template, expected) in [
            ("{Id}", "x"),
            ("{Id} is {Size}", "x is 5"),
            ("{Config.Env[1]}", "B=2"),
            ("{Config.Env}", "[\"A=1\",\"B=2\"]"),
            ("{Config.Labels[\"a.b\"]}", "l"),
            ("{Config[\"Env\"][0]}\\t\\{{Id}\\}", "A=1\t{x}"),
            (
                "{Config.User}{Config.Env[7]}{Config.Labels.none.deeper}|{Id}",
                "|x",
            ),
        ] {
            assert_eq!(
                line(template, &object),
                format!("{expected}\n"),
                "{template}"
            );
        }
        assert!(line("{}", &object).contains("\"Size\":5"));
    }

    #[test]
    fn what_is_no_template_is_refused_by_name() {
        for (template, because) in [
            (
                "{{.Id}}",
                "Go templates are not taken; write {Id} for {{.Id}}",
            ),
            ("table {{.Id}}", "Go templates"),
            ("jsn", "no {FIELD}"),
            ("{Id", "ends with }"),
            ("{.Id}", "names with dots"),
            ("{Id}}", "without its {"),
            ("{A[x]}", "a number or a \"name\""),
            ("{A[1.5]}", "a number or a \"name\""),
            ("{A b}", "ends with }"),
            ("{A}\\x", "after \\"),
            ("{A}\\\u{e9}", "after \\"),
        ] {
            let told = Format::parse(template).unwrap_err();
            assert!(told.contains(because), "{template}: {told}");
        }
    }

    #[test]
    fn a_field_that_dhow_does_not_have_is_named() {
        let Ok(Format::Lines(template)) = Format::parse("{Nmae}") else {
            panic!("it is a template")
        };
        let told = template.line(&json!({"Id": 1, "Name": 2})).unwrap_err();
        assert_eq!(
            told.to_string(),
            "--format: no field \"Nmae\"; there are Id, Name"
        );
    }

    #[test]
    fn an_images_words_stay_in_their_line_and_steer_nothing() {
        let object = json!({"A": "a\nb\u{1b}[2J\u{9b}2J\u{202e}", "L": ["\u{9b}"]});
        let told = line("{A}{L}", &object);
        assert_eq!(told, "a\\nb\\u{1b}[2J\\u{9b}2J\\u{202e}[\"\\u009b\"]\n");
        let text = json(&object).unwrap();
        assert!(
            text.chars()
                .all(|c| c == '\n' || visible(&c.to_string()) == c.to_string())
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object);
    }
}
