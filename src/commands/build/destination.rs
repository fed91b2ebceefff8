//! `--output`: where a build's result goes, in docker's words. Not its job: bringing it there.

use std::path::PathBuf;

use image::registry::Under;
use image::{Format, Reference};

use super::compression::{self, Form};

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// Files in a folder.
    Files(PathBuf),
    /// One tar of the files; without a path, stdout.
    Tar(Option<PathBuf>),
    /// An archive of the image, with more names for it; without a path, stdout.
    Archive(Format, Option<PathBuf>, Vec<Reference>),
    /// An OCI layout in a folder, with more names for the image.
    Layout(PathBuf, Vec<Reference>),
    /// The store, with more names for the image; or its registries, too.
    Image { names: Vec<Reference>, push: bool },
    /// Nowhere: the cache alone has gained.
    Cache,
}

impl Destination {
    /// Whether bytes go to stdout.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Tar(None) | Self::Archive(_, None, _))
    }

    /// Whether the image itself is wanted, not its files alone.
    pub(super) fn wants_image(&self) -> bool {
        !matches!(self, Self::Files(_) | Self::Tar(_) | Self::Cache)
    }

    /// Whether what is said of the result goes there too.
    pub(super) fn takes_attestations(&self) -> bool {
        !matches!(
            self,
            Self::Archive(Format::DockerArchive, ..)
                | Self::Image { push: false, .. }
                | Self::Cache
        )
    }

    /// The names that it gives the image beside those of `-t`.
    pub(super) fn names(&self) -> &[Reference] {
        match self {
            Self::Files(_) | Self::Tar(_) | Self::Cache => &[],
            Self::Archive(_, _, names) | Self::Layout(_, names) | Self::Image { names, .. } => {
                names
            }
        }
    }
}

/// As docker has it: a path alone is a folder, `-` a tar on stdout, else `type=…` and more fields.
pub(super) fn parse(text: &str) -> Result<(Destination, Form), String> {
    let fields = fields(text)?;
    if let [field] = &fields[..]
        && !field.contains('=')
    {
        return match field.as_str() {
            "" => Err("it is empty".to_owned()),
            "-" => Ok((Destination::Tar(None), Form::default())),
            path => Ok((Destination::Files(path.into()), Form::default())),
        };
    }
    let mut given = Given::default();
    for field in &fields {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("{field:?} is not KEY=VALUE"))?;
        given.take(key, value)?;
    }
    let form = std::mem::take(&mut given.form);
    let kind = given.kind.clone().unwrap_or_default();
    let (prefix, under) = (given.prefix.clone(), given.under()?);
    let destination = given.destination()?;
    let mut form = match &destination {
        Destination::Image { push: true, .. } => form.pushed()?,
        Destination::Archive(..) | Destination::Layout(..) => form.saved(&kind)?,
        _ => form.unmoved(&kind)?,
    };
    form.prefix = prefix.unwrap_or_default();
    form.under = under;
    Ok((destination, form))
}

/// The fields of a line of CSV: commas part them, but not within double quotes.
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    match quoted {
        true => Err("a quote is not closed".to_owned()),
        false => Ok(fields),
    }
}

/// What the fields say.
#[derive(Default)]
struct Given {
    kind: Option<String>,
    dest: Option<String>,
    names: Vec<Reference>,
    push: Option<bool>,
    tar: Option<bool>,
    /// What stands before the names of files that say something of the others.
    prefix: Option<String>,
    by_digest: bool,
    canonical: bool,
    /// Whether a name has a tag or digest of its own.
    tagged: bool,
    form: compression::Given,
}

impl Given {
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "type" => self.kind = Some(value.to_owned()),
            "dest" => self.dest = Some(value.to_owned()),
            "name" => {
                for name in value.split(',').filter(|name| !name.is_empty()) {
                    let last = name.rsplit('/').next().unwrap_or_default();
                    self.tagged |= last.contains([':', '@']);
                    self.names.push(name.parse().map_err(|e| format!("{e}"))?);
                }
            }
            "push" => self.push = Some(truth(key, value)?),
            "tar" => self.tar = Some(truth(key, value)?),
            "attestation-prefix" if value.contains('/') => {
                return Err(format!("{key}={value}: it is a part of a file's name"));
            }
            "attestation-prefix" => self.prefix = Some(value.to_owned()),
            "push-by-digest" => self.by_digest = truth(key, value)?,
            // The digest is all of a name that is pushed so; without that, there is no store that wants it.
            "name-canonical" => self.canonical = truth(key, value)?,
            // What is done anyway.
            "unpack" | "store" | "rewrite-timestamp" | "attestation-inline" => {
                if !truth(key, value)? {
                    return Err(format!("{key}={value} is not supported"));
                }
            }
            _ if self.form.take(key, value)? => {}
            _ => return Err(format!("{key} is not supported")),
        }
        Ok(())
    }

    /// What a push gives the image: tags, or nothing but its digest.
    fn under(&self) -> Result<Under, String> {
        let pushed = self
            .push
            .unwrap_or(self.kind.as_deref() == Some("registry"));
        match self.by_digest {
            true if !pushed => Err("push-by-digest means nothing without push=true".to_owned()),
            true if self.tagged => Err("push-by-digest: a name must have no tag".to_owned()),
            true => Ok(Under::Digest),
            false if self.canonical => Err("name-canonical needs push-by-digest=true".to_owned()),
            false => Ok(Under::Tag),
        }
    }

    fn destination(self) -> Result<Destination, String> {
        let Some(kind) = self.kind.clone() else {
            return Err("it has no type=".to_owned());
        };
        let only = |field: &str, given: bool, kinds: &[&str]| match given
            && !kinds.contains(&kind.as_str())
        {
            true => Err(format!("{field} means nothing for type={kind}")),
            false => Ok(()),
        };
        let files = ["local", "tar", "oci", "docker"];
        only("dest", self.dest.is_some(), &files)?;
        only("push", self.push.is_some(), &["image", "registry"])?;
        only("tar", self.tar.is_some(), &["oci"])?;
        only(
            "attestation-prefix",
            self.prefix.is_some(),
            &["local", "tar"],
        )?;
        let images = ["oci", "docker", "image", "registry"];
        only("name", !self.names.is_empty(), &images)?;
        let path = self.dest.clone().filter(|dest| dest != "-");
        let path = path.map(PathBuf::from);
        Ok(match kind.as_str() {
            "local" => Destination::Files(path.ok_or("type=local needs dest=FOLDER")?),
            "tar" => Destination::Tar(path),
            "oci" if self.tar == Some(false) => {
                Destination::Layout(path.ok_or("tar=false needs dest=FOLDER")?, self.names)
            }
            "oci" => Destination::Archive(Format::OciArchive, path, self.names),
            // Docker's own meaning of it without a file: where images are kept.
            "docker" if self.dest.is_none() => Destination::Image {
                names: self.names,
                push: false,
            },
            "docker" => Destination::Archive(Format::DockerArchive, path, self.names),
            "image" => Destination::Image {
                names: self.names,
                push: self.push.unwrap_or(false),
            },
            "registry" => Destination::Image {
                names: self.names,
                push: self.push.unwrap_or(true),
            },
            "cacheonly" => Destination::Cache,
            other => {
                return Err(format!(
                    "type={other} is not supported; it can be local, tar, oci, docker, image, registry or cacheonly"
                ));
            }
        })
    }
}

/// A word for yes or no, of those that Go knows.
pub(super) fn truth(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(format!("{key}={value}: it is true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_read_as_docker_reads_it() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        for (text, expected) in [
            ("out", Destination::Files("out".into())),
            ("-", Destination::Tar(None)),
            ("type=local,dest=a b", Destination::Files("a b".into())),
            (
                "type=tar,dest=x.tar",
                Destination::Tar(Some("x.tar".into())),
            ),
            ("type=tar,dest=-", Destination::Tar(None)),
            ("type=cacheonly", Destination::Cache),
            (
                "type=oci",
                Destination::Archive(Format::OciArchive, None, Vec::new()),
            ),
            (
                "type=oci,tar=false,dest=d",
                Destination::Layout("d".into(), Vec::new()),
            ),
            (
                "type=docker,dest=x,name=a:1",
                Destination::Archive(Format::DockerArchive, Some("x".into()), names(&["a:1"])),
            ),
            (
                "type=docker",
                Destination::Image {
                    names: Vec::new(),
                    push: false,
                },
            ),
            (
                "type=image,\"name=a,b:2\",push=true",
                Destination::Image {
                    names: names(&["a", "b:2"]),
                    push: true,
                },
            ),
            (
                "type=image,name=r.example:1/a,push-by-digest=true,name-canonical=true,push=true,unpack=true",
                Destination::Image {
                    names: names(&["r.example:1/a"]),
                    push: true,
                },
            ),
            (
                "type=registry,name=r.example/a",
                Destination::Image {
                    names: names(&["r.example/a"]),
                    push: true,
                },
            ),
        ] {
            assert_eq!(parse(text).map(|(to, _)| to), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_an_output_cannot_mean_is_refused_by_name() {
        for (text, why) in [
            ("", "it is empty"),
            ("dest=x", "it has no type="),
            ("type=local", "type=local needs dest=FOLDER"),
            ("type=local,dest", "\"dest\" is not KEY=VALUE"),
            (
                "type=local,dest=x,name=a",
                "name means nothing for type=local",
            ),
            ("type=image,unpack=false", "unpack=false is not supported"),
            (
                "type=oci,rewrite-timestamp=false",
                "rewrite-timestamp=false is not supported",
            ),
            (
                "type=image,name=a,push-by-digest=true",
                "push-by-digest means nothing without push=true",
            ),
            (
                "type=registry,name=a/b:1,push-by-digest=true",
                "push-by-digest: a name must have no tag",
            ),
            (
                "type=image,name=a,name-canonical=true",
                "name-canonical needs push-by-digest=true",
            ),
            (
                "type=image,attestation-prefix=x",
                "attestation-prefix means nothing for type=image",
            ),
            ("type=image,annotation.a=b", "annotation.a is not supported"),
            ("type=image,push=yes", "push=yes: it is true or false"),
            (
                "type=oci,compression=estargz",
                "compression=estargz is not supported",
            ),
            ("type=image,\"name=a", "a quote is not closed"),
            (
                "type=gateway",
                "type=gateway is not supported; it can be local, tar, oci, docker, image, registry or cacheonly",
            ),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
    }
}
