//! Claims about paths below a root, with openat2 and with the walk that stands in for it.

use super::*;

/// Runs `claim` with openat2 and with the walk that stands in for it on old kernels.
fn both(claim: impl Fn(&Path, &dyn Fn(&str) -> Result<OwnedFd, Errno>)) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(crate::file::open_path(dir.path()).unwrap());
    let path = OFlags::PATH | OFlags::CLOEXEC;
    claim(dir.path(), &|p| {
        root.resolve(Path::new(p), path, Mode::empty())
    });
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(crate::file::open_path(dir.path()).unwrap());
    claim(dir.path(), &|p| root.walk(Path::new(p), path));
}

fn same(fd: &OwnedFd, path: &Path) -> bool {
    let (a, b) = (
        rustix::fs::fstat(fd).unwrap(),
        rustix::fs::stat(path).unwrap(),
    );
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

#[test]
fn dots_and_absolute_links_stay_below_the_root() {
    both(|dir, open| {
        std::fs::create_dir_all(dir.join("a/etc")).unwrap();
        std::fs::create_dir(dir.join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("a/link")).unwrap();
        std::os::unix::fs::symlink("../../../../etc", dir.join("a/up")).unwrap();
        for path in [
            "a/link",
            "a/up",
            "../../etc",
            "/a/../../etc",
            "a/link/../etc/.",
        ] {
            assert!(same(&open(path).unwrap(), &dir.join("etc")), "{path}");
        }
    });
}

#[test]
fn a_magic_link_is_refused() {
    let proc = Root::new(crate::file::open_path("/proc").unwrap());
    let path = OFlags::PATH | OFlags::CLOEXEC;
    assert_eq!(
        proc.resolve(Path::new("self/root/etc"), path, Mode::empty())
            .unwrap_err(),
        Errno::LOOP
    );
    assert_eq!(
        proc.walk(Path::new("self/root/etc"), path).unwrap_err(),
        Errno::LOOP
    );
}

#[test]
fn a_loop_of_links_ends() {
    both(|dir, open| {
        std::os::unix::fs::symlink("b", dir.join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.join("b")).unwrap();
        assert_eq!(open("a").unwrap_err(), Errno::LOOP);
    });
}

#[test]
fn missing_directories_are_made_behind_a_dangling_link_but_inside() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(crate::file::open_path(dir.path()).unwrap());
    std::os::unix::fs::symlink("/var/new", dir.path().join("data")).unwrap();
    let fd = root.create_dir_all("/data/a/b", 0o755).unwrap();
    assert!(same(&fd, &dir.path().join("var/new/a/b")));
    assert!(root.create_dir_all("data/a/b", 0o755).is_ok());
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(crate::file::open_path(dir.path()).unwrap());
    std::fs::write(dir.path().join("f"), "").unwrap();
    let error = root.create_dir_all("f/x", 0o755).unwrap_err();
    assert_eq!(error.to_string(), "mkdir f/x: not a directory");
}

#[test]
fn a_created_file_does_not_go_through_a_link_out() {
    let dir = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let root = Root::new(crate::file::open_path(dir.path()).unwrap());
    std::os::unix::fs::symlink(out.path().join("new"), dir.path().join("l")).unwrap();
    let result = root.create_file("l", 0o644);
    assert!(result.is_err());
    assert!(!out.path().join("new").exists());
}
