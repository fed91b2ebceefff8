//! Trees, locks and replacements of trusted files.

use super::*;

#[test]
fn a_tree_is_removed_and_what_its_links_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    std::fs::write(kept.path().join("f"), "x").unwrap();
    std::fs::create_dir_all(dir.path().join("t/a/b/c")).unwrap();
    std::fs::write(dir.path().join("t/a/b/f"), "").unwrap();
    std::os::unix::fs::symlink(kept.path(), dir.path().join("t/a/l")).unwrap();
    remove_tree(open_dir(dir.path()).unwrap(), "t").unwrap();
    assert!(!dir.path().join("t").exists());
    assert!(kept.path().join("f").exists());
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, "12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    assert_eq!(read(&path, 4).unwrap_err().errno, Errno::FBIG);
    assert_eq!(
        read("/dev/zero", 4).unwrap_err().note.as_deref(),
        Some("not a regular file")
    );
}

#[test]
fn a_replaced_file_has_the_new_content_and_leaves_no_other_name() {
    let dir = tempfile::tempdir().unwrap();
    let fd = open_dir(dir.path()).unwrap();
    replace(&fd, "s", b"one", 0o600, Durability::Memory).unwrap();
    replace(&fd, "s", b"two", 0o600, Durability::Disk).unwrap();
    assert_eq!(std::fs::read(dir.path().join("s")).unwrap(), b"two");
    assert_eq!(list(&fd).unwrap().len(), 1);
}

#[test]
fn a_log_waits_for_no_reader_and_follows_no_strangers_link() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, link) = (dir.path().join("fifo"), dir.path().join("link"));
    rustix::fs::mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(append(&fifo).unwrap_err().errno, Errno::NXIO);
    std::os::unix::fs::symlink("log", &link).unwrap();
    append(&link).unwrap().write_all(b"x").unwrap();
    assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"x");
    // Giving the link away takes root.
    if crate::privileges::is_root() {
        std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        assert_eq!(append(&link).unwrap_err().errno, Errno::LOOP);
    }
}
