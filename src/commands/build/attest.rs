//! `--provenance`, `--sbom` and `--attest`: what is said of the result beside it, in buildx' words. Not its job: saying
//! it (builder).

use builder::{Attest, Detail, Provenance};

use super::destination::{fields, truth};
use crate::report::Failure;

/// What is said of the result.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Say how the result came about (SLSA v1): true, false, or mode=min|max with builder-id=ADDRESS
    #[arg(long, value_name = "HOW")]
    provenance: Option<String>,
    /// Say which packages the result has (SPDX 2.3): true or false
    #[arg(long, value_name = "BOOL")]
    sbom: Option<String>,
    /// The same as type=provenance or type=sbom, with more behind commas; may be given several times
    #[arg(long, value_name = "WHAT")]
    attest: Vec<String>,
}

impl Asked {
    /// What the flags come to; the short ones win, as with buildx.
    pub(super) fn wanted(&self) -> Result<Attest, Failure> {
        let said =
            |flag: &str, text: &str, why: String| Failure::new(format!("--{flag} {text}: {why}"));
        let mut attest = Attest::default();
        for text in &self.attest {
            typed(&mut attest, text).map_err(|why| said("attest", text, why))?;
        }
        if let Some(text) = &self.provenance {
            attest.provenance =
                switched(text, provenance).map_err(|why| said("provenance", text, why))?;
        }
        if let Some(text) = &self.sbom {
            let wanted = switched(text, sbom).map_err(|why| said("sbom", text, why))?;
            attest.sbom = wanted.is_some();
        }
        Ok(attest)
    }
}

type Fields<'f> = &'f [(String, String)];

/// `type=…` and what belongs to it.
fn typed(attest: &mut Attest, text: &str) -> Result<(), String> {
    let mut given = pairs(text)?;
    let place = given.iter().position(|(key, _)| key == "type");
    let (_, kind) = given.remove(place.ok_or("it has no type=")?);
    match kind.as_str() {
        "provenance" => attest.provenance = enabled(&given, provenance)?,
        "sbom" => attest.sbom = enabled(&given, sbom)?.is_some(),
        _ => {
            return Err(format!(
                "type={kind} is not supported; it can be provenance or sbom"
            ));
        }
    }
    Ok(())
}

/// A word for yes or no, or fields.
fn switched<T>(text: &str, read: fn(Fields<'_>) -> Result<T, String>) -> Result<Option<T>, String> {
    match text.contains('=') {
        true => enabled(&pairs(text)?, read),
        false => {
            match truth("it", text).map_err(|_| "it is true, false or KEY=VALUE".to_owned())? {
                true => read(&[]).map(Some),
                false => Ok(None),
            }
        }
    }
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |field: &String| {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("{field:?} is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    fields(text)?.iter().map(pair).collect()
}

/// What the fields say, unless one of them says that it is all off.
fn enabled<T>(
    given: Fields<'_>,
    read: fn(Fields<'_>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let mut rest = Vec::new();
    let mut disabled = false;
    for (key, value) in given {
        match key.as_str() {
            "disabled" => disabled = truth(key, value)?,
            _ => rest.push((key.clone(), value.clone())),
        }
    }
    let read = read(&rest)?;
    Ok((!disabled).then_some(read))
}

fn provenance(given: Fields<'_>) -> Result<Provenance, String> {
    let mut provenance = Provenance::default();
    for (key, value) in given {
        match (key.as_str(), value.as_str()) {
            ("mode", "min") => provenance.detail = Detail::Min,
            ("mode", "max") => provenance.detail = Detail::Max,
            ("builder-id", id) => provenance.builder = Some(id.to_owned()),
            ("version", "v1") => {}
            ("inline-only", value) => provenance.inline_only = truth(key, value)?,
            ("reproducible", value) => provenance.reproducible = truth(key, value)?,
            ("mode" | "version", _) => return Err(format!("{key}={value} is not supported")),
            _ => return Err(format!("{key} is not supported")),
        }
    }
    Ok(provenance)
}

fn sbom(given: Fields<'_>) -> Result<(), String> {
    match given.first() {
        Some((key, _)) => Err(format!("{key} is not supported: dhow looks for itself")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(
        provenance: Option<&str>,
        sbom: Option<&str>,
        attest: &[&str],
    ) -> Result<Attest, String> {
        let asked = Asked {
            provenance: provenance.map(str::to_owned),
            sbom: sbom.map(str::to_owned),
            attest: attest.iter().map(|text| (*text).to_owned()).collect(),
        };
        asked.wanted().map_err(|failure| failure.to_string())
    }

    #[test]
    fn attestations_are_asked_for_as_with_buildx() {
        let provenance = |detail, builder: Option<&str>| {
            Some(Provenance {
                detail,
                builder: builder.map(str::to_owned),
                ..Provenance::default()
            })
        };
        let (min, max) = (Detail::Min, Detail::Max);
        for (flags, expected, sbom) in [
            ((None, None, &[][..]), None, false),
            (
                (Some("true"), Some("true"), &[]),
                provenance(min, None),
                true,
            ),
            (
                (
                    Some("false"),
                    Some("false"),
                    &["type=sbom", "type=provenance"],
                ),
                None,
                false,
            ),
            (
                (
                    Some("mode=max,builder-id=https://x,version=v1"),
                    None,
                    &["type=sbom"],
                ),
                provenance(max, Some("https://x")),
                true,
            ),
            (
                (
                    None,
                    None,
                    &["type=provenance,mode=max", "type=sbom,disabled=true"],
                ),
                provenance(max, None),
                false,
            ),
        ] {
            let attest = wanted(flags.0, flags.1, flags.2).unwrap();
            assert_eq!(
                attest,
                Attest {
                    provenance: expected,
                    sbom
                },
                "{flags:?}"
            );
        }
    }

    #[test]
    fn attestations_that_cannot_be_had_are_refused_by_name() {
        for (flags, why) in [
            (
                (Some("maybe"), None, &[][..]),
                "--provenance maybe: it is true, false or KEY=VALUE",
            ),
            (
                (Some("version=v0.2"), None, &[]),
                "--provenance version=v0.2: version=v0.2 is not supported",
            ),
            (
                (None, Some("generator=x"), &[]),
                "--sbom generator=x: generator is not supported: dhow looks for itself",
            ),
            (
                (None, None, &["mode=max"]),
                "--attest mode=max: it has no type=",
            ),
            (
                (None, None, &["type=x"]),
                "--attest type=x: type=x is not supported; it can be provenance or sbom",
            ),
        ] {
            assert_eq!(wanted(flags.0, flags.1, flags.2), Err(why.to_owned()));
        }
    }
}
