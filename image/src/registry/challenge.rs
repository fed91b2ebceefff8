//! What a registry wants to see before it answers: `WWW-Authenticate` (RFC 9110, section 11).
//! Not its job: getting it.

/// A challenge that we can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token that somebody else gives out.
    Bearer {
        /// Who gives it: an address.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// What it must allow.
        scope: Option<String>,
    },
}

/// The best challenge of all header lines: a token before a password.
pub(super) fn best<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let found: Vec<Challenge> = lines.flat_map(challenges).collect();
    let bearer = |c: &&Challenge| matches!(c, Challenge::Bearer { .. });
    found.iter().find(bearer).or(found.first()).cloned()
}

/// All challenges of one line that we know. What is malformed ends the line.
fn challenges(line: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((scheme, after)) = token(rest) else {
            return found;
        };
        let mut parameters = Vec::new();
        rest = after;
        while let Some((key, value, after)) = parameter(rest) {
            parameters.push((key.to_ascii_lowercase(), value));
            rest = after;
        }
        let get = |key: &str| {
            let known = parameters.iter().find(|(name, _)| name == key);
            known.map(|(_, value)| value.clone())
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                if let Some(realm) = get("realm") {
                    found.push(Challenge::Bearer {
                        realm,
                        service: get("service"),
                        scope: get("scope").filter(|scope| !scope.is_empty()),
                    });
                }
            }
            _ => {}
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let end = text.bytes().take_while(|b| legal(*b)).count();
    (end > 0).then(|| text.split_at(end))
}

/// `key=value` or `key="value"`, and what follows it. A word without `=` begins the next challenge.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (key, rest) = token(text)?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let Some(mut quoted) = rest.strip_prefix('"') else {
        let end = rest.find([' ', '\t', ',']).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        return Some((key, value.to_owned(), rest));
    };
    let mut value = String::new();
    loop {
        let end = quoted.find(['"', '\\'])?;
        value.push_str(&quoted[..end]);
        let (mark, after) = quoted[end..].split_at(1);
        quoted = after;
        if mark == "\"" {
            return Some((key, value, quoted));
        }
        let escaped = quoted.chars().next()?;
        value.push(escaped);
        quoted = &quoted[escaped.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn the_challenges_of_real_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let of_hub = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        for (lines, expected) in [
            (vec![hub], of_hub.clone()),
            (
                vec![r#"Basic realm="Registry Realm""#],
                Some(Challenge::Basic),
            ),
            // Both in one line, and in two.
            (
                vec![&*format!(r#"Basic realm="x, y", {hub}"#)],
                of_hub.clone(),
            ),
            (vec!["Basic", hub], of_hub),
            (
                vec![r#"bearer REALM = https://t/ , service="a \"b\"" , scope="""#],
                bearer("https://t/", Some("a \"b\""), None),
            ),
            (vec!["Negotiate", "NTLM abc=="], None),
            (vec![r#"Bearer service="x""#], None),
            (vec![], None),
        ] {
            assert_eq!(best(lines.iter().copied()), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_challenge_ends_the_line() {
        for line in [
            r#"Bearer realm="https://t"#,
            r#"Bearer realm="\"#,
            "=",
            "\"",
            ",,,",
            "Bearer realm",
            "Bearer ä",
        ] {
            assert_eq!(best([line].into_iter()), None, "{line}");
        }
    }
}
