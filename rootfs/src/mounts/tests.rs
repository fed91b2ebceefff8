//! Claims about the steps that a spec's mounts become.

use super::*;
use oci_spec::runtime::MountBuilder;

fn around() -> Surroundings<'static> {
    Surroundings {
        bundle: Path::new("/b"),
        cgroup: CgroupView::Namespace,
        propagation: None,
        label: None,
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .unwrap()
}

fn one(mount: &Mount) -> Result<MountStep, String> {
    step(3, mount, &around()).map_err(|e| e.to_string())
}

#[test]
fn a_step_says_what_it_does_in_plain_words() {
    let proc = one(&mount("/proc", "proc", "proc", &["nosuid", "noexec"])).unwrap();
    assert_eq!(proc.to_string(), "mount proc on /proc (nosuid, noexec)");
    let bind = one(&mount("/b", "", "/a", &["rbind", "ro"])).unwrap();
    assert_eq!(bind.to_string(), "bind /a on /b (ro, recursive)");
    let plain = one(&mount("/dev/shm", "tmpfs", "shm", &[])).unwrap();
    assert_eq!(plain.to_string(), "mount tmpfs on /dev/shm");
}

#[test]
fn relative_paths_start_at_the_root_and_at_the_bundle() {
    let step = one(&mount("y/../data/./x/", "bind", "vol", &[])).unwrap();
    assert_eq!(step.destination, Path::new("/data/x"));
    assert_eq!(
        step.what,
        What::Bind {
            source: "/b/vol".into(),
            depth: Depth::One
        }
    );
}

#[test]
fn a_bind_without_a_word_for_it_only_receives_the_hosts_mounts() {
    let slave = [(Propagation::Slave, Depth::Recursive)];
    let step = one(&mount("/x", "", "/a", &["rbind"])).unwrap();
    assert_eq!(step.options.propagation, slave);
    let step = one(&mount("/x", "", "/a", &["rbind", "rshared"])).unwrap();
    assert_eq!(
        step.options.propagation,
        [(Propagation::Shared, Depth::Recursive)]
    );
    let step = one(&mount("/x", "tmpfs", "", &[])).unwrap();
    assert!(step.options.propagation.is_empty());
}

#[test]
fn faults_name_the_field_and_the_value() {
    let table = [
        (
            mount("/", "tmpfs", "", &[]),
            "mounts[3].destination: `/` is the container's root itself",
        ),
        (
            mount("/a/../../", "tmpfs", "", &[]),
            "mounts[3].destination: `/a/../../` is the container's root itself",
        ),
        (
            mount("/a", "", "", &["ro"]),
            "mounts[3].type: it is missing, and there is no `bind`",
        ),
        (
            mount("/a", "bind", "", &["ro"]),
            "mounts[3].source: a bind mount needs a source",
        ),
        (
            mount("/a", "", "/x", &["bind", "size=3"]),
            "mounts[3].options: `size`: a bind mount takes no option of a file system",
        ),
        (
            mount("/a", "", "", &["remount", "idmap"]),
            "mounts[3].options: `idmap`: a mount that is in use can't get other ids",
        ),
        (
            mount("/proc/self/attr", "tmpfs", "x", &[]),
            "mounts[3].destination: `/proc/self/attr`: only a procfs may be mounted on /proc, and nothing over its files",
        ),
        (
            mount("/x/../proc", "tmpfs", "x", &[]),
            "mounts[3].destination: `/proc`: only a procfs may be mounted on /proc, and nothing over its files",
        ),
    ];
    for (mount, words) in table {
        assert_eq!(one(&mount).unwrap_err(), words);
    }
}

#[test]
fn lxcfs_may_cover_its_files() {
    assert!(one(&mount("/proc/meminfo", "", "/var/lib/lxcfs/m", &["bind"])).is_ok());
}

#[test]
fn a_cgroup_mount_without_a_namespace_shows_the_containers_own_directory() {
    let spec = mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
    assert_eq!(
        one(&spec).unwrap().to_string(),
        "mount cgroup2 on /sys/fs/cgroup (ro)"
    );
    let around = Surroundings {
        cgroup: CgroupView::Directory("/sys/fs/cgroup/unified/c1".into()),
        ..around()
    };
    assert_eq!(
        step(0, &spec, &around).unwrap().to_string(),
        "bind /sys/fs/cgroup/unified/c1 on /sys/fs/cgroup (ro)"
    );
}

const READ_ONLY: u64 = 1;

#[test]
fn the_hosts_cgroups_are_never_writable_by_the_way() {
    let sys = |options: &[&str]| {
        one(&mount("/sys", "none", "/sys", options))
            .unwrap()
            .options
    };
    assert_eq!(sys(&["rbind", "ro"]).recursive.set, READ_ONLY);
    assert_eq!(sys(&["rbind"]).recursive.set, 0);
    let around = Surroundings {
        cgroup: CgroupView::Callers("/sys/fs/cgroup/user".into()),
        ..around()
    };
    let cgroup = mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let options = step(0, &cgroup, &around).unwrap().options;
    assert_eq!(
        (options.attr.set, options.recursive.set),
        (READ_ONLY, READ_ONLY)
    );
}

#[test]
fn what_must_be_filled_becomes_read_only_late() {
    let lock = |destination: &str, kind: &str, options: &[&str]| {
        one(&mount(destination, kind, "/x", options)).unwrap().lock
    };
    assert_eq!(lock("/a", "tmpfs", &["ro"]), Lock::Late);
    assert_eq!(lock("/dev", "devtmpfs", &["ro"]), Lock::Late);
    assert_eq!(lock("/a", "tmpfs", &["ro", "rw"]), Lock::AtOnce);
    assert_eq!(lock("/sys", "sysfs", &["ro"]), Lock::AtOnce);
    assert_eq!(lock("/dev", "bind", &["ro"]), Lock::AtOnce);
}

#[test]
fn a_label_goes_where_the_file_system_takes_it() {
    let around = Surroundings {
        label: Some(Label {
            option: "fscontext",
            label: "u:r:t:s0:c1,c2",
        }),
        ..around()
    };
    let labelled = |kind: &str, options: &[&str]| {
        let step = step(0, &mount("/a", kind, "/x", options), &around).unwrap();
        let option = step.options.value("fscontext").map(str::to_owned);
        (option, step.label)
    };
    let label = Some("u:r:t:s0:c1,c2".to_owned());
    assert_eq!(labelled("tmpfs", &[]), (label.clone(), None));
    assert_eq!(labelled("mqueue", &[]), (None, label));
    assert_eq!(labelled("sysfs", &[]), (None, None));
    assert_eq!(labelled("bind", &[]), (None, None));
}
