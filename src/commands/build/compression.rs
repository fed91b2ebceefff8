//! The fields of `--output` that say how layers are compressed as they leave, in buildx' words. Not its job:
//! compressing them (image).

use image::registry::Under;
use image::{MediaTypes, Method};

use super::destination::truth;
use crate::commands::compression::method;

/// How a result leaves for one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) method: Method,
    /// Whether layers change that are compressed in another way.
    pub(super) force: bool,
    pub(super) types: MediaTypes,
    /// What a push gives the image.
    pub(super) under: Under,
    /// What stands before the names of files that say something of the others.
    pub(super) prefix: String,
}

impl Form {
    /// How images go to registries where nobody says it.
    pub(super) fn of_pushes() -> Self {
        Self {
            method: Method::GZIP,
            ..Self::default()
        }
    }
}

/// What the fields say.
#[derive(Debug, Default)]
pub(super) struct Given {
    compression: Option<String>,
    level: Option<String>,
    force: Option<bool>,
    oci: Option<bool>,
}

impl Given {
    /// Whether the field is one of these.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "compression" if ["uncompressed", "gzip", "zstd"].contains(&value) => {
                self.compression = Some(value.to_owned());
            }
            "compression" => return Err(format!("{key}={value} is not supported")),
            "compression-level" => self.level = Some(value.to_owned()),
            "force-compression" => self.force = Some(truth(key, value)?),
            "oci-mediatypes" => self.oci = Some(truth(key, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// For a registry.
    pub(super) fn pushed(self) -> Result<Form, String> {
        let types = match self.oci {
            Some(false) => MediaTypes::Docker,
            _ => MediaTypes::Oci,
        };
        let form = self.method(Method::GZIP)?;
        Ok(Form { types, ..form })
    }

    /// For an archive or layout: the OCI's have the OCI's media types, docker's have none.
    pub(super) fn saved(self, kind: &str) -> Result<Form, String> {
        match self.oci {
            Some(oci) if oci != (kind == "oci") => Err(format!(
                "oci-mediatypes={oci} means nothing for type={kind}"
            )),
            _ => self.method(Method::None),
        }
    }

    /// Where layers stay what they are.
    pub(super) fn unmoved(self, kind: &str) -> Result<Form, String> {
        let compressed = self.compression.filter(|name| name != "uncompressed");
        let given = [
            ("compression", compressed.is_some()),
            ("compression-level", self.level.is_some()),
            ("force-compression", self.force == Some(true)),
            ("oci-mediatypes=false", self.oci == Some(false)),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(format!(
                "{field} means nothing for type={kind}: no layer is compressed there"
            )),
            None => Ok(Form::default()),
        }
    }

    fn method(&self, default: Method) -> Result<Form, String> {
        let method = method(self.compression.as_deref(), self.level.as_deref(), default)?;
        Ok(Form {
            method,
            force: self.force.unwrap_or(false),
            ..Form::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::parse;
    use super::*;

    #[test]
    fn compression_is_read_as_buildx_reads_it() {
        let form = |method, force, types| Form {
            method,
            force,
            types,
            ..Form::default()
        };
        let (oci, docker) = (MediaTypes::Oci, MediaTypes::Docker);
        for (text, expected) in [
            ("type=registry", form(Method::GZIP, false, oci)),
            ("type=image,push=true", form(Method::GZIP, false, oci)),
            (
                "type=registry,compression=uncompressed",
                form(Method::None, false, oci),
            ),
            (
                "type=registry,compression=zstd,compression-level=19,force-compression=true",
                form(Method::Zstd(19), true, oci),
            ),
            (
                "type=registry,compression-level=0,oci-mediatypes=false",
                form(Method::Gzip(0), false, docker),
            ),
            ("type=oci,dest=x", form(Method::None, false, oci)),
            (
                "type=oci,dest=x,compression=gzip",
                form(Method::GZIP, false, oci),
            ),
            (
                "type=docker,dest=x,compression=gzip",
                form(Method::GZIP, false, oci),
            ),
            ("type=image,compression=uncompressed", Form::default()),
        ] {
            assert_eq!(parse(text).map(|(_, form)| form), Ok(expected), "{text}");
        }
    }

    #[test]
    fn compression_that_cannot_be_meant_is_refused() {
        let elsewhere = "means nothing for type=image: no layer is compressed there";
        for (text, why) in [
            (
                "type=oci,compression=estargz",
                "compression=estargz is not supported".to_owned(),
            ),
            (
                "type=image,compression=gzip",
                format!("compression {elsewhere}"),
            ),
            (
                "type=image,oci-mediatypes=false",
                format!("oci-mediatypes=false {elsewhere}"),
            ),
            (
                "type=oci,oci-mediatypes=false",
                "oci-mediatypes=false means nothing for type=oci".to_owned(),
            ),
            (
                "type=docker,dest=x,oci-mediatypes=true",
                "oci-mediatypes=true means nothing for type=docker".to_owned(),
            ),
            (
                "type=oci,compression-level=3",
                "compression-level means nothing without a compression".to_owned(),
            ),
            (
                "type=oci,compression=zstd,compression-level=23",
                "compression-level=23: it is from 1 to 22".to_owned(),
            ),
            (
                "type=registry,compression-level=-2",
                "compression-level=-2: it is from 0 to 9".to_owned(),
            ),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
