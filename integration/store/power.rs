//! The power fails while a store is changed: whatever was in memory alone is gone. Each try has a file system of its own
//! on a loop device, which is shut down without writing even its log, and mounted again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shelf;
use super::killed::{LOAD, PRUNE, REMOVE, Verb, driven, goes_on, sample, stock, stops};
use crate::killpoint::driver;
use crate::support::command::wait_for;
use crate::support::{claims, run};

claims![
    a_load_survives_a_power_cut_anywhere: [Root, Dhow, Loop("ext4")],
    a_prune_survives_a_power_cut_anywhere: [Root, Dhow, Loop("ext4")],
    an_rmi_survives_a_power_cut_anywhere: [Root, Dhow, Loop("ext4")],
    a_load_survives_a_power_cut_on_xfs: [Root, Dhow, Loop("xfs")],
    a_prune_survives_a_power_cut_on_xfs: [Root, Dhow, Loop("xfs")],
    an_rmi_survives_a_power_cut_on_xfs: [Root, Dhow, Loop("xfs")],
    a_load_of_images_survives_a_power_cut_anywhere: [Root, ImageLayers, Dhow, Loop("ext4")],
    an_rmi_of_images_survives_a_power_cut_anywhere: [Root, ImageLayers, Dhow, Loop("ext4")],
    a_full_file_system_ends_a_load_in_one_line: [Root, Dhow, Loop("ext4")],
];

/// A file system to make, its size, and how many calls are tried but for `make sweep`.
struct Kind {
    make: &'static [&'static str],
    options: &'static str,
    size: u64,
    tries: usize,
}

const EXT4: Kind = Kind {
    make: &["mkfs.ext4", "-q", "-F", "-m", "0"],
    // Nothing is written by itself while we look.
    options: "loop,commit=300",
    size: 24 << 20,
    tries: 4,
};

const XFS: Kind = Kind {
    make: &["mkfs.xfs", "-q"],
    options: "loop",
    size: 300 << 20,
    tries: 2,
};

fn a_load_survives_a_power_cut_anywhere() {
    sweep(&EXT4, &LOAD, Shelf::at);
}

fn a_prune_survives_a_power_cut_anywhere() {
    sweep(&EXT4, &PRUNE, Shelf::at);
}

fn an_rmi_survives_a_power_cut_anywhere() {
    sweep(&EXT4, &REMOVE, Shelf::at);
}

fn a_load_survives_a_power_cut_on_xfs() {
    sweep(&XFS, &LOAD, Shelf::at);
}

fn a_load_of_images_survives_a_power_cut_anywhere() {
    sweep(&EXT4, &LOAD, |store| Shelf::at(store).of_images());
}

fn an_rmi_of_images_survives_a_power_cut_anywhere() {
    sweep(&EXT4, &REMOVE, |store| Shelf::at(store).of_images());
}

fn a_prune_survives_a_power_cut_on_xfs() {
    sweep(&XFS, &PRUNE, Shelf::at);
}

fn an_rmi_survives_a_power_cut_on_xfs() {
    sweep(&XFS, &REMOVE, Shelf::at);
}

/// A file system in a file, mounted while this lives.
struct Disk {
    image: PathBuf,
    at: PathBuf,
    options: &'static str,
    /// One at a time: loop devices are few, and a disk is slow.
    _alone: MutexGuard<'static, ()>,
}

impl Disk {
    fn make(folder: &Path, kind: &Kind) -> Self {
        let (image, at) = (folder.join("disk"), folder.join("mnt"));
        std::fs::create_dir_all(&at).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(kind.size).unwrap();
        static ALONE: Mutex<()> = Mutex::new(());
        let disk = Self {
            image,
            at,
            options: kind.options,
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        run(Command::new(kind.make[0])
            .args(&kind.make[1..])
            .arg(&disk.image))
        .success();
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(Command::new("mount")
            .args(["-o", self.options])
            .args([&self.image, &self.at]))
        .success();
    }

    /// Other namespaces may have a copy of the mount: a container that began meanwhile, say. The file system is gone when
    /// its device is; mounted before that, it would be the old one, without power.
    fn unmount(&self) {
        run(Command::new("umount").arg(&self.at)).success();
        wait_for("the loop device's end", Duration::from_secs(60), || {
            let devices = run(Command::new("losetup").arg("-j").arg(&self.image)).success();
            devices.stdout.is_empty().then_some(())
        });
    }

    fn keep(&self, copy: &Path) {
        run(Command::new("cp")
            .arg("--sparse=always")
            .args([&self.image, copy]))
        .success();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _not_mounted = Command::new("umount").arg("-q").arg(&self.at).status();
    }
}

fn sweep(kind: &Kind, verb: &Verb, shelf: fn(PathBuf) -> Shelf) {
    let folder = tempfile::Builder::new()
        .prefix("dhow-test-")
        .tempdir()
        .unwrap();
    let disk = Disk::make(folder.path(), kind);
    let shelf = shelf(disk.at.join("store"));
    let archive = stock(&shelf);
    disk.unmount();
    let pristine = folder.path().join("pristine");
    disk.keep(&pristine);
    // Cuts the power at a call (0: when all is done), brings it back, and gives what the driver said.
    let cut = |call: u64| {
        std::fs::rename(&pristine, &disk.image).unwrap();
        disk.keep(&pristine);
        disk.mount();
        let call = call.to_string();
        let act = [Path::new(driver::CUT), Path::new(&call), &disk.at];
        let output = driven(&shelf, &act, verb, &archive);
        disk.unmount();
        disk.mount();
        output
    };
    let output = cut(0).success();
    let total = stops(&output);
    assert!(
        total > 5,
        "{:?} has only {total} calls that write",
        verb.words
    );
    // What was told to be done is done for good.
    assert_eq!(shelf.names(), verb.after, "after its end");
    goes_on(&shelf, verb, &archive, "after its end");
    disk.unmount();
    for call in sample(total, verb.words[0], kind.tries) {
        let output = cut(call);
        let place = output.stdout.lines().last().unwrap_or_default().to_owned();
        if place.starts_with("stops ") {
            assert_eq!(shelf.names(), verb.after, "after its end: {output:?}");
        }
        goes_on(
            &shelf,
            verb,
            &archive,
            &format!("{place}, then without power"),
        );
        disk.unmount();
    }
}

/// With less and less room: the load works, or says so in a line and takes all back.
fn a_full_file_system_ends_a_load_in_one_line() {
    let folder = tempfile::Builder::new()
        .prefix("dhow-test-")
        .tempdir()
        .unwrap();
    let disk = Disk::make(folder.path(), &EXT4);
    let shelf = Shelf::at(disk.at.join("store"));
    let archive = stock(&shelf);
    let rooms = || ["layers", "blobs/sha256", "work"].map(|room| shelf.room(room));
    let before = rooms();
    let filler = disk.at.join("filler");
    let (mut worked, mut failed) = (0, 0);
    for blocks in 0..24 {
        // All but some blocks, of which files and folders of the image take about twenty.
        let free = || {
            let stat = sys::at::fstatvfs(sys::file::open_dir(&disk.at).unwrap()).unwrap();
            stat.f_bavail * stat.f_frsize
        };
        let wanted = blocks * 2 * 4096;
        let file = std::fs::File::create(&filler).unwrap();
        run(Command::new("sync").arg("-f").arg(&disk.at)).success();
        let length = free().saturating_sub(wanted + 8192).to_string();
        run(Command::new("fallocate").args(["-l", &length]).arg(&filler)).success();
        drop(file);
        let output = shelf.load(&archive);
        if output.status == 0 {
            worked += 1;
            shelf.dhow(&["rmi", "new"]).success();
        } else {
            failed += 1;
            assert_eq!(output.status, 1, "{output:?}");
            assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
            assert!(
                output.stderr.to_lowercase().contains("no space left"),
                "{output:?}"
            );
        }
        assert_eq!(rooms(), before, "{blocks}: {output:?}");
        std::fs::remove_file(&filler).unwrap();
        shelf.is_whole();
    }
    assert!(failed > 2 && worked > 2, "{failed} failed, {worked} worked");
    shelf.load(&archive).success();
    shelf.is_whole();
}
