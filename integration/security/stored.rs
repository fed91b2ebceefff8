//! E16, E22, E24: what becomes of images once they are in the store: nobody else sees them, no load takes their names,
//! and what somebody did to them is seen. Not its job: repair (store).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::{docker, file, folder, put, tar};
use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, claims, run};

claims![
    e16_cve_2024_25621_nobody_else_sees_a_store: [Root, Dhow],
    e16_a_store_of_somebody_else_is_refused: [Root, Dhow],
    e22_cve_2026_50195_a_load_moves_no_name: [Dhow],
    e23_cve_2023_30549_the_kernel_is_shown_images_of_ours_alone: [Root, ImageLayers, Dhow],
    e24_tampering_with_a_blob_is_seen: [Dhow],
    e24_tampering_with_a_layer_is_seen: [Dhow],
];

/// nobody's.
const STRANGER: u32 = 65534;

fn on(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = Command::new(dhow());
    command.arg("--root").arg(sandbox.state_root());
    command.arg("--store").arg(sandbox.path().join("store"));
    command.args(arguments);
    command
}

/// An image whose one file is a set-user-id program with this text.
fn program(text: &str) -> Vec<u8> {
    let mut program = file("bin/program");
    program.mode = 0o4755;
    program.data = text.as_bytes().to_vec();
    docker(&[tar(&[folder("bin"), program])])
}

fn loaded(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let archive = put(&sandbox, &program(text));
    run(&mut on(&sandbox, &["load", &archive])).success();
    sandbox
}

/// Whatever the umask was, and whatever mode the folder had.
fn e16_cve_2024_25621_nobody_else_sees_a_store() {
    for existing in [None, Some(0o777)] {
        let sandbox = Sandbox::new();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(sandbox.path(), open).unwrap();
        let store = sandbox.path().join("store");
        if let Some(mode) = existing {
            std::fs::create_dir(&store).unwrap();
            std::fs::set_permissions(&store, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let archive = put(&sandbox, &program("#!/bin/sh\nid -u\n"));
        let load = on(&sandbox, &["load", &archive]);
        let mut words = vec!["-c".into(), "umask 000; exec \"$0\" \"$@\"".into()];
        words.push(load.get_program().to_owned());
        words.extend(load.get_args().map(ToOwned::to_owned));
        run(Command::new("sh").args(words)).success();
        assert_eq!(std::fs::metadata(&store).unwrap().mode() & 0o777, 0o700);
        let mut inside = vec![store.clone(), store.join("index.json")];
        inside.extend(found(&store, "bin/program"));
        assert_eq!(inside.len(), 3);
        for path in inside {
            for tool in ["ls", "cat"] {
                let output = as_stranger(Command::new(tool).arg(&path));
                assert_ne!(output.status, 0, "{tool} {}: {output:?}", path.display());
                assert!(output.stderr.contains("denied"), "{output:?}");
            }
        }
        let output = as_stranger(
            Command::new("sh")
                .args(["-c", "\"$0\""])
                .arg(&found(&store, "bin/program")[0]),
        );
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (126, ""),
            "{output:?}"
        );
    }
}

fn as_stranger(command: &mut Command) -> Output {
    run(command.uid(STRANGER).gid(STRANGER).current_dir("/"))
}

fn e16_a_store_of_somebody_else_is_refused() {
    let sandbox = loaded("x");
    std::os::unix::fs::chown(sandbox.path().join("store"), Some(STRANGER), None).unwrap();
    let output = run(&mut on(&sandbox, &["images"])).ends_with(1);
    assert!(
        output.stderr.contains("belongs to another user"),
        "{output:?}"
    );
}

/// The files of this name in the unpacked layers.
fn found(store: &Path, name: &str) -> Vec<PathBuf> {
    let layers = std::fs::read_dir(store.join("layers")).unwrap();
    let files = layers.map(|layer| layer.unwrap().path().join("fs").join(name));
    files.filter(|path| path.exists()).collect()
}

fn e22_cve_2026_50195_a_load_moves_no_name() {
    let sandbox = loaded("mine");
    let id = |name: &str| {
        let output = run(&mut on(&sandbox, &["inspect", name])).success();
        output.stdout
    };
    let mine = id("evil");
    run(&mut on(&sandbox, &["tag", "evil", "precious"])).success();
    let other = put(&sandbox, &program("another's"));
    for words in [
        &["load", &other][..],
        &["load", "--tag", "precious", &other],
    ] {
        let output = run(&mut on(&sandbox, words)).ends_with(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(
            output.stderr.contains("belongs to another image"),
            "{output:?}"
        );
        assert_eq!(found(&sandbox.path().join("store"), "bin/program").len(), 1);
    }
    run(&mut on(&sandbox, &["rmi", "precious"])).success();
    assert_eq!(id("evil"), mine);
    // Only whoever says so.
    run(&mut on(&sandbox, &["load", "--force", &other])).success();
    assert_ne!(id("evil"), mine);
}

fn e24_tampering_with_a_blob_is_seen() {
    let sandbox = loaded("mine");
    run(&mut on(&sandbox, &["store", "check"])).success();
    for blob in std::fs::read_dir(sandbox.path().join("store/blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let whole = std::fs::read(&blob).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        std::fs::write(&blob, bytes).unwrap();
        let output = run(&mut on(&sandbox, &["store", "check", "--quick"])).ends_with(1);
        let name = blob.file_name().unwrap().to_str().unwrap();
        assert!(output.stdout.contains(name), "{output:?}");
        assert!(output.stdout.contains("digest"), "{output:?}");
        std::fs::write(&blob, whole).unwrap();
    }
    run(&mut on(&sandbox, &["store", "check"])).success();
}

/// A layer that is kept as a file system is shown if we wrote it and nobody else can have: not another's file, nor one in
/// the place of a folder.
fn e23_cve_2023_30549_the_kernel_is_shown_images_of_ours_alone() {
    let sandbox = Sandbox::new();
    let archive = put(&sandbox, &program("mine"));
    let load = ["load", "--layers", "image", &archive];
    run(&mut on(&sandbox, &load)).success();
    let layers = sandbox.path().join("store/layers");
    let layer = std::fs::read_dir(layers).unwrap().next().unwrap();
    let image = &layer.unwrap().path().join("fs");
    let unpack = |to: &str| {
        let to = sandbox.path().join(to);
        run(&mut on(&sandbox, &["unpack", "evil", to.to_str().unwrap()]))
    };
    unpack("good").success();
    std::os::unix::fs::chown(image, Some(STRANGER), None).unwrap();
    let output = unpack("strangers").ends_with(1);
    assert!(
        output.stderr.contains("no file of ours alone"),
        "{output:?}"
    );
    std::os::unix::fs::chown(image, Some(0), None).unwrap();
    std::fs::set_permissions(image, std::fs::Permissions::from_mode(0o620)).unwrap();
    unpack("open").ends_with(1);
    std::fs::set_permissions(image, std::fs::Permissions::from_mode(0o600)).unwrap();
    unpack("again").success();
    let record = image.with_file_name("layer.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("erofs-1", "folder")).unwrap();
    unpack("unrecorded").ends_with(1);
}

/// The same length, the same times.
fn e24_tampering_with_a_layer_is_seen() {
    let sandbox = loaded("mine");
    let program = &found(&sandbox.path().join("store"), "bin/program")[0];
    let time = std::fs::metadata(program).unwrap().modified().unwrap();
    let mode = std::fs::metadata(program).unwrap().permissions();
    std::fs::write(program, "evil").unwrap();
    std::fs::set_permissions(program, mode).unwrap();
    let file = std::fs::File::options().write(true).open(program).unwrap();
    file.set_modified(time).unwrap();
    let output = run(&mut on(&sandbox, &["store", "check"])).ends_with(1);
    assert!(
        output
            .stdout
            .contains("\"bin/program\": its content is another"),
        "{output:?}"
    );
}
