//! `--chmod`: an octal number, or changes in letters as in chmod(1). Not its job: changing files.

/// What a mode becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// Exactly this.
    Octal(u32),
    /// These changes, in order.
    Symbolic(Vec<Clause>),
}

/// `u=rwX`: who, how, what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clause {
    who: u32,
    operator: char,
    /// `g=u`: whose rights these are, as the bits that they are moved by.
    copied: Option<u32>,
    read: bool,
    write: bool,
    execute: bool,
    execute_if_any: bool,
    set_id: bool,
    sticky: bool,
}

impl ModeChange {
    /// Parses the flag's value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let octal = text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty();
        if octal {
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .map(Self::Octal)
                .ok_or_else(|| invalid(text));
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            read(part, &mut clauses).ok_or_else(|| invalid(text))?;
        }
        Ok(Self::Symbolic(clauses))
    }

    /// The mode (without the file's type) that a file or directory with `mode` gets.
    pub(crate) fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses
                .iter()
                .fold(mode & 0o7777, |mode, clause| clause.apply(mode, directory)),
        }
    }

    /// A text that says the same: for cache keys.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Octal(mode) => format!("{mode:04o}"),
            Self::Symbolic(clauses) => format!("{clauses:?}"),
        }
    }
}

fn invalid(text: &str) -> String {
    format!(
        "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or \
         like u=rwX,go=rX"
    )
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHERS: u32 = 0o0007;

/// Reads what stands between two commas: who, then one or more of `=rwX`, `+u`, …, each done after the one before.
fn read(text: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    const OPERATORS: [char; 3] = ['=', '+', '-'];
    let (who, mut rest) = text.split_at(text.find(OPERATORS)?);
    let mut whose = 0;
    for c in who.chars() {
        whose |= match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHERS,
            'a' => USER | GROUP | OTHERS,
            _ => return None,
        };
    }
    if who.is_empty() {
        whose = USER | GROUP | OTHERS;
    }
    while let Some(operator) = rest.chars().next() {
        let end = rest[1..].find(OPERATORS).map_or(rest.len(), |at| at + 1);
        action(whose, operator, &rest[1..end], clauses)?;
        rest = &rest[end..];
    }
    Some(())
}

/// Reads the letters of one operator. Rights that are somebody else's are a clause of their own.
fn action(who: u32, operator: char, letters: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let new = || Clause {
        who,
        operator,
        ..Clause::default()
    };
    let before = clauses.len();
    let mut clause = new();
    for c in letters.chars() {
        *match c {
            'r' => &mut clause.read,
            'w' => &mut clause.write,
            'x' => &mut clause.execute,
            'X' => &mut clause.execute_if_any,
            's' => &mut clause.set_id,
            't' => &mut clause.sticky,
            'u' | 'g' | 'o' => {
                let said = std::mem::replace(&mut clause, new());
                clauses.extend(Some(said).filter(|said| *said != new()));
                clauses.push(Clause {
                    copied: Some(match c {
                        'u' => 6,
                        'g' => 3,
                        _ => 0,
                    }),
                    ..new()
                });
                continue;
            }
            _ => return None,
        } = true;
    }
    if clause != new() || clauses.len() == before {
        clauses.push(clause);
    }
    Some(())
}

impl Clause {
    fn apply(&self, mode: u32, directory: bool) -> u32 {
        let mut bits = match self.copied {
            Some(by) => (mode >> by & 0o7) * 0o111,
            None => 0,
        };
        if self.read {
            bits |= 0o444;
        }
        if self.write {
            bits |= 0o222;
        }
        if self.execute || (self.execute_if_any && (directory || mode & 0o111 != 0)) {
            bits |= 0o111;
        }
        if self.set_id {
            bits |= 0o6000;
        }
        bits &= self.who;
        // As chmod(1) of the BSDs, whom BuildKit follows: it is no right of others.
        if self.sticky && self.who != OTHERS {
            bits |= 0o1000;
        }
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !self.who) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, mode: u32, directory: bool) -> u32 {
        ModeChange::parse(text).unwrap().apply(mode, directory)
    }

    #[test]
    fn octal_and_letters_give_the_mode() {
        assert_eq!(apply("755", 0o644, false), 0o755);
        assert_eq!(apply("04755", 0, false), 0o4755);
        assert_eq!(apply("u=rwX,go=rX", 0o600, false), 0o644);
        assert_eq!(apply("u=rwX,go=rX", 0o700, false), 0o755);
        assert_eq!(apply("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(apply("+x", 0o644, false), 0o755);
        assert_eq!(apply("g-w,o=", 0o666, false), 0o640);
        assert_eq!(apply("u+s,+t", 0o755, false), 0o5755);
    }

    #[test]
    fn rights_of_others_are_taken_and_changes_follow_each_other() {
        assert_eq!(apply("g=u,o=", 0o640, false), 0o660);
        assert_eq!(apply("go=u-w", 0o741, false), 0o755);
        assert_eq!(apply("u+r-w", 0o244, false), 0o444);
        assert_eq!(apply("o-g", 0o756, false), 0o752);
        assert_eq!(apply("g=ur", 0o700, false), 0o740);
        assert_eq!(apply("u=", 0o777, false), 0o077);
        assert_eq!(apply("o+t", 0o755, false), 0o755);
    }

    #[test]
    fn what_is_no_mode_is_refused_with_its_text() {
        for bad in ["9", "10000", "", "u", "z=r", "u=q", "77x"] {
            let why = ModeChange::parse(bad).unwrap_err();
            assert!(why.contains(&format!("'{bad}'")), "{why}");
        }
    }
}
