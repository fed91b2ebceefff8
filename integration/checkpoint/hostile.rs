//! What a checkpoint of somebody else's may not do: loosen its processes, name options, lead through links.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{checkpoint, count, counting, good, images, restore, started};
use crate::support::{Bundle, Sandbox, claims};

claims![
    a_checkpoint_that_is_less_confined_than_the_bundle_is_refused: [Root, Cgroup2, Criu, Dhow],
    the_refusal_comes_from_the_look_at_its_processes: [Root, Cgroup2, Criu, FaultBuild],
    no_annotation_gives_criu_options_cve_org_criu_config: [Root, Cgroup2, Criu, Dhow],
    b09_a_link_in_a_checkpoint_is_not_followed_cve_2024_8676: [Root, Cgroup2, Dhow],
    a_link_is_found_by_the_look_through_the_folder: [Root, Cgroup2, FaultBuild],
];

/// A checkpoint of a container that had more than the bundle that it is restored with gives.
fn too_wide(sandbox: &Sandbox) -> (PathBuf, Bundle) {
    let bundle = counting(sandbox).edit(|spec| {
        spec["process"]["noNewPrivileges"] = json!(false);
        let all = &mut spec["process"]["capabilities"];
        for set in ["bounding", "effective", "permitted"] {
            let set = all[set].as_array_mut().unwrap();
            set.push(json!("CAP_NET_RAW"));
        }
    });
    started(sandbox, &bundle);
    let images = images(sandbox, "images");
    good(checkpoint(sandbox, &images, &[]), &images);
    let narrow = bundle.edit(|spec| {
        for set in ["bounding", "effective", "permitted"] {
            let set = spec["process"]["capabilities"][set].as_array_mut().unwrap();
            set.retain(|name: &Value| name != "CAP_NET_RAW");
        }
    });
    (images, narrow)
}

fn a_checkpoint_that_is_less_confined_than_the_bundle_is_refused() {
    let sandbox = Sandbox::new();
    let (images, bundle) = too_wide(&sandbox);
    let at_rest = count(&bundle);
    let output = restore(&sandbox, &images, &bundle, &["--detach"]).ends_with(1);
    assert!(
        output
            .stderr
            .contains("is not confined as the configuration says: Cap"),
        "{output:?}"
    );
    assert_eq!(count(&bundle), at_rest, "it ran");
    let gone = sandbox.runtime(&["state", "c"]);
    assert_ne!(gone.status, 0, "{gone:?}");
}

fn the_refusal_comes_from_the_look_at_its_processes() {
    let sandbox = Sandbox::new();
    let (images, bundle) = too_wide(&sandbox);
    let output = crate::support::run(
        sandbox
            .command()
            .env("DHOW_FAULT", "no-restore-check")
            .args(["restore", "--detach", "--image-path"])
            .arg(&images)
            .args(["--bundle", bundle.argument(), "c"]),
    );
    good(output, &images);
    let pid = sandbox.state("c")["pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("CapBnd:\t"), "{status}");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn no_annotation_gives_criu_options_cve_org_criu_config() {
    let sandbox = Sandbox::new();
    let config = sandbox.path().join("criu.conf");
    std::fs::write(&config, "leave-running\n").unwrap();
    let bundle = counting(&sandbox)
        .edit(|spec| spec["annotations"] = json!({"org.criu.config": config.to_str()}));
    started(&sandbox, &bundle);
    let pid = sandbox.state("c")["pid"].to_string();
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &[]), &images);
    assert!(
        !Path::new("/proc").join(pid).exists(),
        "it was left running"
    );
}

/// A folder that looks like a checkpoint, with a link where CRIU writes its log.
fn hostile(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let images = images(sandbox, "images");
    std::fs::create_dir(&images).unwrap();
    std::fs::write(images.join("descriptors.json"), "[]").unwrap();
    let target = sandbox.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, images.join("dump.log")).unwrap();
    (images, target)
}

fn b09_a_link_in_a_checkpoint_is_not_followed_cve_2024_8676() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    let (images, target) = hostile(&sandbox);
    let output = restore(&sandbox, &images, &bundle, &["--detach"]).ends_with(1);
    assert!(output.stderr.contains("dump.log: is a link"), "{output:?}");
    started(&sandbox, &bundle);
    let output = checkpoint(&sandbox, &images, &[]).ends_with(1);
    assert!(output.stderr.contains("dump.log: is a link"), "{output:?}");
    assert_eq!(std::fs::read_to_string(target).unwrap(), "precious");
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_link_is_found_by_the_look_through_the_folder() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    let (images, _) = hostile(&sandbox);
    let output = crate::support::run(
        sandbox
            .command()
            .env("DHOW_FAULT", "no-image-check")
            .args([
                "--criu",
                "/nope/criu",
                "restore",
                "--detach",
                "--image-path",
            ])
            .arg(&images)
            .args(["--bundle", bundle.argument(), "c"]),
    )
    .ends_with(1);
    assert!(
        output.stderr.contains("/nope/criu: not found"),
        "{output:?}"
    );
}
