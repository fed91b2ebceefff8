//! Other people's engines with dhow as their runtime: podman, buildah, Docker, containerd; with no line of theirs
//! changed. Each claim also holds for runc (`DHOW_TEST_RUNTIME=/usr/sbin/runc`).
//! Not its job: what a runtime does by itself (the other modules).

mod alike;
mod buildah;
mod checkpoint;
mod containerd;
mod docker;
mod docker_life;
mod engine;
mod limits;
mod podman;
mod podman_health;
mod podman_options;
mod podman_pods;
mod podman_rootless;
mod systemd;
mod view;

use crate::support::claim::Claim;

/// The claims of all engines.
pub(crate) fn claims() -> Vec<Claim> {
    [
        alike::claims(),
        buildah::claims(),
        checkpoint::claims(),
        containerd::claims(),
        docker::claims(),
        docker_life::claims(),
        limits::claims(),
        podman::claims(),
        podman_health::claims(),
        podman_options::claims(),
        podman_pods::claims(),
        podman_rootless::claims(),
        systemd::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
