//! A12, B3 to B5, C3, C10, C12: what a hostile image, context or layer would have of the host when dhow itself reads and
//! runs it. Not its job: the builder's own hostile recipes (build/hostile), archives (unpack).

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Canary;
use crate::build::Site;
use crate::killpoint::{chosen, driver};
use crate::support::sandbox::dhow;
use crate::support::{Sandbox, claims, run};

claims![
    a12_cve_2024_40635_an_id_is_that_id_or_an_error: [Root, Cgroup2, Overlay, Dhow],
    a12_cve_2016_3697_an_exec_takes_no_id_that_wraps: [Root, Cgroup2],
    b03_cve_2019_14271_nothing_of_an_image_is_loaded_by_dhow: [Root, Cgroup2, Overlay, Dhow],
    b04_cve_2018_15664_a_folder_swapped_at_any_call_of_a_copy_stays_inside: [Root, Overlay, FullSpeed, Dhow],
    b05_cve_2023_0778_a_file_swapped_while_it_is_copied_stays_inside: [Root, Overlay, FullSpeed, Dhow],
    c03_cve_2024_1753_a_source_in_an_image_stays_in_the_image: [Root, Cgroup2, Overlay, Dhow],
    c10_cve_2018_10892_what_others_hide_is_hidden: [Root, Cgroup2, Overlay, Dhow],
    c12_cve_2023_0386_a_layer_does_not_steer_the_overlay: [Root, Cgroup2, Overlay, Dhow, Tool("sha256sum")],
];

/// The image knows users whose names are numbers, and whose ids are root's.
const USERS: &str = "FROM base
COPY <<passwd /etc/passwd
root:x:0:0:root:/root:/bin/sh
1000:x:0:0:a trap:/root:/bin/sh
01:x:0:0:a trap:/root:/bin/sh
4294967296:x:0:0:a trap:/root:/bin/sh
+1:x:0:0:a trap:/root:/bin/sh
wrapped:x:4294967296:4294967296::/:/bin/sh
less:x:-1:-1::/:/bin/sh
passwd
";

/// Either exactly the id that stands there, or an error; and root never, unless it says 0.
fn a12_cve_2024_40635_an_id_is_that_id_or_an_error() {
    let site = Site::new();
    site.image("users", USERS);
    for (user, ids) in [
        ("0", Some("0:0")),
        ("1", Some("1:0")),
        ("1000", Some("1000:0")),
        ("01", Some("1:0")),
        // No group is said, as docker has it.
        ("1:", Some("1:0")),
        ("7:8", Some("7:8")),
        ("2147483647", Some("2147483647:0")),
        ("2147483648", None),
        ("4294967295", None),
        ("4294967296", None),
        ("18446744073709551616", None),
        ("1:4294967296", None),
        ("-1", None),
        ("1:-1", None),
        ("1:1:1", None),
        ("\u{663}", None),
        ("wrapped", None),
        ("less", None),
    ] {
        let user_flag = format!("--user={user}");
        let script = "echo $(id -u):$(id -g)";
        let words = ["run", "--rm", &user_flag, "users", "sh", "-c", script];
        let output = run(site.dhow().args(words));
        match ids {
            Some(ids) => assert_eq!(output.success().stdout.trim(), ids, "{user}"),
            None => {
                assert_ne!(output.status, 0, "{user}: {output:?}");
                assert_eq!(output.stdout, "", "{user}");
            }
        }
    }
}

fn a12_cve_2016_3697_an_exec_takes_no_id_that_wraps() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    for user in [
        "4294967296",
        "18446744073709551616",
        "-1",
        "1:4294967296",
        "1:-1",
        "1:1:1",
    ] {
        let flag = format!("--user={user}");
        let output = sandbox.runtime(&["exec", &flag, "c", "id", "-u"]);
        assert_ne!(output.status, 0, "{user}: {output:?}");
        assert_eq!(output.stdout, "", "{user}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// Libraries that libc loads by itself, and programs that unpack. dhow has no loader in it, and calls none of them.
fn b03_cve_2019_14271_nothing_of_an_image_is_loaded_by_dhow() {
    let program = std::fs::read(dhow()).unwrap();
    let loader = b"/ld-linux";
    assert!(!program.windows(loader.len()).any(|bytes| bytes == loader));
    let site = Site::new();
    let trace = site.folder().join("ran-on-the-host");
    let script = format!("#!/bin/sh\necho $0 >> {}\n", trace.display());
    let context = site.context("evil", "FROM base\nCOPY --chmod=755 root /\n");
    for name in [
        "lib/libnss_files.so.2",
        "lib/libnss_dns.so.2",
        "usr/bin/gzip",
        "usr/bin/unpigz",
        "usr/bin/xz",
        "usr/bin/tar",
        "etc/nsswitch.conf",
    ] {
        let path = context.join("root").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &script).unwrap();
    }
    site.build(&["-q", "-t", "evil", "evil"]).success();
    site.image("c", "FROM evil\nCOPY --chown=user:staff Dockerfile /x\nCOPY --from=evil /usr/bin /y\nUSER user\n");
    for words in [
        &["save", "-o", "c.tar", "c"][..],
        &["rmi", "c"],
        &["load", "-i", "c.tar"],
        &["unpack", "c", "bundle"],
        &["run", "--rm", "--user", "user", "c", "true"],
    ] {
        run(site.dhow().args(words)).success();
    }
    assert!(!trace.exists(), "{:?}", std::fs::read_to_string(&trace));
}

/// A context, and beside a folder of it and a file in that a link each to the canary.
fn context(site: &Site, canary: &Canary) -> std::path::PathBuf {
    let context = site.context("c", "FROM scratch\nCOPY in /out\nCOPY in/file /one\n");
    let _ = std::fs::remove_dir_all(context.join("in"));
    let _ = std::fs::remove_file(context.join("in"));
    let _ = std::fs::remove_dir_all(context.join("evil"));
    let _ = std::fs::remove_file(context.join("evil"));
    std::fs::create_dir(context.join("in")).unwrap();
    for name in ["in/file", "in/secret"] {
        std::fs::write(context.join(name), "of the context\n").unwrap();
    }
    symlink(canary.path(), context.join("evil")).unwrap();
    symlink(canary.path().join("secret"), context.join("in/evil")).unwrap();
    context
}

/// Where in a store the canary's words are.
fn found(store: &Path) -> String {
    let mut grep = Command::new("grep");
    run(grep.args(["-rl", super::canary::SECRET]).arg(store)).stdout
}

/// Builds again and again, each time with the two names swapped at another call: whatever was looked at before, a link
/// to the host is there at the next.
fn swapped(names: (&str, &str), seed: &str) {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let swapping = |at: u64| {
        let context = context(&site, &canary);
        let store = site.folder().join(format!("store-{at}"));
        let mut command = Command::new("/proc/self/exe");
        command.args([driver::SWAP, &at.to_string()]);
        command.args([context.join(names.0), context.join(names.1)]);
        command.arg(dhow()).arg("--store").arg(&store);
        let output = run(command.args(["build", "-q"]).arg(context));
        canary.assert_unseen(&output.stdout);
        assert_eq!(found(&store), "", "at call {at}: {output:?}");
        output
    };
    let total = super::races::stops(&swapping(0));
    // Each third of those that are drawn: all files go the same way.
    for at in chosen(total, seed).into_iter().step_by(3) {
        swapping(at);
    }
}

fn b04_cve_2018_15664_a_folder_swapped_at_any_call_of_a_copy_stays_inside() {
    swapped(("in", "evil"), "folder");
}

/// What was read is compared with what was looked for before: the second line, behind the one that follows no link.
fn b05_cve_2023_0778_a_file_swapped_while_it_is_copied_stays_inside() {
    swapped(("in/file", "in/evil"), "file");
}

/// COPY from an image, an image's VOLUME and WORKDIR: links of the image's end in the image. Mounts of RUN, whose sources
/// were the way out elsewhere (CVE-2024-11218, CVE-2024-23651), dhow has none of yet, and says so.
fn c03_cve_2024_1753_a_source_in_an_image_stays_in_the_image() {
    let site = Site::new();
    let canary = Canary::new(&site.sandbox);
    let path = canary.text();
    site.image(
        "evil",
        &format!(
            "FROM base\nRUN mkdir -p {path} && echo inside > {path}/secret && ln -s {path} /data && ln -s / /root/all && \
             ln -s ../../../../../../../../../..{path} /up && ln -s /proc/self/root{path} /magic\n\
             VOLUME /data\nVOLUME /up/b\nWORKDIR /data\n"
        ),
    );
    for source in [
        "/data/secret",
        "/up/secret",
        "/root/all/data/secret",
        "/magic/secret",
    ] {
        let recipe = format!("FROM base\nCOPY --from=evil {source} /seen\n");
        site.context("c", &recipe);
        let output = site.build(&["-q", "-t", "c", "c"]);
        if output.status == 0 {
            assert_eq!(site.inside("c", "cat /seen"), "inside\n", "{source}");
        }
        canary.assert_untouched();
    }
    assert_eq!(site.inside("evil", "cat secret; touch new"), "inside\n");
    canary.assert_untouched();
    for (kind, is_there) in [
        ("bind,from=evil,source=/data", true),
        ("cache,source=/data,from=evil", true),
        ("secret,id=x", false),
    ] {
        let recipe = format!(
            "FROM base\nRUN --mount=type={kind},target=/mnt test \"$(cat /mnt/secret)\" = inside\n"
        );
        site.context("c", &recipe);
        let output = site.build(&["-q", "c"]);
        assert_eq!(output.status == 0, is_there, "{kind}: {output:?}");
        canary.assert_untouched();
    }
    assert_eq!(found(&site.folder().join("store")), "");
}

/// The union of what moby, containerd, podman and `runc spec` hide and lock, as far as this host has it.
const HIDDEN: &str = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
    /proc/scsi /proc/timer_list /proc/timer_stats /sys/dev/block /sys/devices/virtual/powercap /sys/firmware /sys/fs/selinux \
    /sys/devices/system/cpu/cpu*/thermal_throttle";
const LOCKED: &str = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger";

fn c10_cve_2018_10892_what_others_hide_is_hidden() {
    let script = format!(
        "for p in {HIDDEN}; do test -e $p || continue; \
         if test -d $p; then ls -A $p | grep -q . && echo $p shows; \
         else test $(stat -c %t:%T $p) = 1:3 || echo $p is there; fi; done; \
         for p in {LOCKED}; do test -e $p || continue; \
         grep -q \" $p ro,\" /proc/self/mountinfo || echo $p is open; done; \
         grep -E '^[^ ]+ [^ ]+ [^ ]+ / /sys rw' /proc/self/mountinfo; true"
    );
    let site = Site::new();
    assert_eq!(site.inside("base", &script), "");
}

/// An upper layer's folders carry the words by which overlay hides, moves and borrows files.
const ARCHIVE: &str = r#"
    set -e
    mkdir -p lower/bin lower/d lower/hidden upper/d upper/e
    cp "$BUSYBOX" lower/bin/busybox; echo there > lower/d/file; echo hidden > lower/hidden/file
    echo real > upper/f
    tar -C lower --format=pax -cf lower.tar bin d hidden
    x=SCHILY.xattr
    tar -C upper --format=pax --pax-option="$x.trusted.overlay.opaque:=y,$x.user.overlay.opaque:=y" -cf d.tar d
    tar -C upper --format=pax --pax-option="$x.trusted.overlay.redirect:=/hidden,$x.trusted.overlay.overlay.opaque:=y" -cf e.tar e
    tar -C upper --format=pax --pax-option="$x.trusted.overlay.metacopy:=,$x.trusted.overlay.redirect:=/hidden/file" -cf f.tar f
    cp d.tar upper.tar; tar -Af upper.tar e.tar; tar -Af upper.tar f.tar
    one=$(sha256sum < lower.tar | cut -d' ' -f1); two=$(sha256sum < upper.tar | cut -d' ' -f1)
    echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$one\",\"sha256:$two\"]}}" > config.json
    echo '[{"Config":"config.json","RepoTags":["evil:latest"],"Layers":["lower.tar","upper.tar"]}]' > manifest.json
    tar -cf evil.tar manifest.json config.json lower.tar upper.tar
"#;

fn c12_cve_2023_0386_a_layer_does_not_steer_the_overlay() {
    let site = Site::bare();
    let mut shell = Command::new("sh");
    shell.args(["-c", ARCHIVE]).current_dir(site.folder());
    let busybox = crate::support::needs::program("busybox").unwrap();
    run(shell.env("BUSYBOX", busybox)).success();
    run(site.dhow().args(["load", "-i", "evil.tar"])).success();
    let script = "/bin/busybox cat /d/file /f; /bin/busybox ls /e";
    let words = ["run", "--rm", "evil", "/bin/busybox", "sh", "-c", script];
    let output = run(site.dhow().args(words)).success();
    assert_eq!(output.stdout, "there\nreal\n");
}
