//! What documents and layers are called, in the OCI's words and in Docker's. Pure. Not its job: reading them
//! (`manifest`).

use crate::manifest;

/// The family of media types of an image's documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// Those of the OCI.
    #[default]
    Oci,
    /// Docker's, of before there was an OCI.
    Docker,
}

impl MediaTypes {
    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => manifest::OCI_MANIFEST,
            Self::Docker => manifest::DOCKER_MANIFEST,
        }
    }

    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => manifest::OCI_INDEX,
            Self::Docker => manifest::DOCKER_INDEX,
        }
    }

    pub(super) fn config(self) -> &'static str {
        match self {
            Self::Oci => manifest::OCI_CONFIG,
            Self::Docker => manifest::DOCKER_CONFIG,
        }
    }

    /// What a layer is called in this family that is called `said` in any.
    pub(super) fn layer(self, said: &str) -> String {
        let bases = [
            (
                "application/vnd.oci.image.layer.v1.tar",
                "application/vnd.docker.image.rootfs.diff.tar",
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
            ),
        ];
        for (oci, docker) in bases {
            let rest = said.strip_prefix(oci).or_else(|| said.strip_prefix(docker));
            if let Some(rest) = rest {
                let suffix = rest.trim_start_matches(['+', '.']);
                return match (self, suffix) {
                    (Self::Oci, "") => oci.to_owned(),
                    (Self::Docker, "") => docker.to_owned(),
                    (Self::Oci, suffix) => format!("{oci}+{suffix}"),
                    (Self::Docker, suffix) => format!("{docker}.{suffix}"),
                };
            }
        }
        said.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_a_name_in_both_families() {
        let oci = "application/vnd.oci.image.layer.v1.tar";
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        for (of_oci, of_docker) in [("", ""), ("+gzip", ".gzip"), ("+zstd", ".zstd")] {
            let names = [format!("{oci}{of_oci}"), format!("{docker}{of_docker}")];
            for name in &names {
                assert_eq!(MediaTypes::Oci.layer(name), names[0]);
                assert_eq!(MediaTypes::Docker.layer(name), names[1]);
            }
        }
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let there = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
        assert_eq!(MediaTypes::Oci.layer(foreign), there);
        assert_eq!(MediaTypes::Docker.layer(there), foreign);
    }
}
