//! E2 to E5: layers whose entries would replace, change, link or remove what is not theirs. Not its job: the ways that an
//! entry's name takes (shapes), malformed tars (tars).

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::Canary;
use super::archive::{Entry, docker, file, folder, hard_link, kept, put, symlink, tar};
use super::shapes::UP;
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    e02_cve_2021_29136_the_root_of_a_layer_stays_a_folder: [Root, Dhow],
    e03_cve_2026_33056_no_mode_owner_or_time_follows_a_link: [Root, Dhow],
    e04_cve_2026_23745_a_hard_link_is_to_a_file_of_the_image: [Root, Dhow],
    e05_cve_2020_10696_a_whiteout_removes_nothing: [Root, Dhow],
];

#[track_caller]
fn load(site: &Site, layers: &[Vec<u8>]) -> Output {
    let path = put(&site.sandbox, &docker(layers));
    run(site.dhow().args(["load", "--quiet", "--force", &path]))
}

/// Loads and unpacks; gives the plain root.
#[track_caller]
pub(super) fn unpack(site: &Site, layers: &[Vec<u8>]) -> PathBuf {
    load(site, layers).success();
    let bundle = site.folder().join("bundle");
    let _ = std::fs::remove_dir_all(&bundle);
    run(site.dhow().arg("unpack").arg("evil").arg(&bundle)).success();
    bundle.join("rootfs")
}

/// Refused with these words, in one line, and nothing of it is kept.
#[track_caller]
pub(super) fn refused(site: &Site, layers: &[Vec<u8>], words: &str) {
    let before = kept(&site.folder().join("store"));
    let told = load(site, layers).ends_with(1).stderr;
    assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    assert_eq!(kept(&site.folder().join("store")), before, "{told}");
}

/// An entry that is the root can only be a folder: a link in its place would lead all others out.
fn e02_cve_2021_29136_the_root_of_a_layer_stays_a_folder() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let names = ["", ".", "./", "/", "/.", "//", "./."];
    for (n, name) in names.iter().enumerate() {
        let named = |entry: Entry| Entry {
            name: (*name).to_owned(),
            ..entry
        };
        let evil = match n % 4 {
            0 => symlink("", canary.text()),
            1 => hard_link("", canary.text()),
            2 => Entry::new(b'6', ""),
            _ => Entry::new(b'3', ""),
        };
        let evil = named(evil);
        refused(
            &site,
            &[tar(&[evil, file("secret")])],
            "the root can only be a directory",
        );
        canary.assert_untouched();
        let honest = Entry {
            mode: 0o711,
            ..named(folder(""))
        };
        let root = unpack(&site, &[tar(&[honest, file("secret")])]);
        let mode = root.metadata().unwrap().mode() & 0o7777;
        assert_eq!(
            (mode, root.join("secret").is_file()),
            (0o711, true),
            "{name:?}"
        );
    }
}

/// Mode, owner and time of an entry are those of what it made, never of what a link leads to.
fn e03_cve_2026_33056_no_mode_owner_or_time_follows_a_link() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let c = canary.text();
    let secret = format!("{c}/secret");
    let strange = |entry: Entry| Entry {
        mode: 0o4777,
        owner: 1234,
        ..entry
    };
    let root = unpack(
        &site,
        &[
            tar(&[
                strange(symlink("l", &secret)),
                strange(symlink("k", c)),
                hard_link("h", "l"),
                strange(symlink("d", c)),
                strange(folder("d")),
                symlink("e", c),
            ]),
            tar(&[strange(folder("e")), strange(hard_link("g", "l"))]),
        ],
    );
    canary.assert_untouched();
    for (name, is_link) in [
        ("l", true),
        ("k", true),
        ("h", true),
        ("g", true),
        ("d", false),
        ("e", false),
    ] {
        let found = root.join(name).symlink_metadata().unwrap();
        assert_eq!((found.is_symlink(), found.uid()), (is_link, 1234), "{name}");
        assert_eq!(found.mtime(), 1000, "{name}");
        if !is_link {
            assert_eq!(found.mode() & 0o7777, 0o4777, "{name}");
        }
    }
}

/// A hard link is to the very name it says, in this layer or in one below; never on the host, never by way of a link that
/// leads there.
fn e04_cve_2026_23745_a_hard_link_is_to_a_file_of_the_image() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let c = canary.text();
    let secret = format!("{c}/secret");
    let neither = "neither this layer nor one below it has that";
    let up = format!("{UP}{secret}");
    let gone = [
        tar(&[file("f")]),
        tar(&[file(".wh.f"), hard_link("h", "f")]),
    ];
    let hidden = [
        tar(&[folder("d"), file("d/f")]),
        tar(&[file(".wh.d")]),
        tar(&[hard_link("h", "d/f")]),
    ];
    for (layers, words) in [
        (&[tar(&[hard_link("h", &secret)])][..], neither),
        (&[tar(&[hard_link("h", &up)])], "a path can't hold '..'"),
        (
            &[tar(&[symlink("d", c), hard_link("h", "d/secret")])],
            neither,
        ),
        (
            &[tar(&[symlink("d", c)]), tar(&[hard_link("h", "d/secret")])],
            neither,
        ),
        (
            &[tar(&[symlink("s", &secret), hard_link("h", "s/x")])],
            neither,
        ),
        (
            &[tar(&[folder("d"), hard_link("h", "d")])],
            "it is a directory",
        ),
        (
            &[tar(&[folder("d")]), tar(&[hard_link("h", "d")])],
            "it is a directory of a layer below",
        ),
        (&[tar(&[hard_link("h", "h")])], "it is itself"),
        (&[tar(&[hard_link("h", "/")])], "a hard link to the root"),
        (&gone, "this layer removes it"),
        (&hidden, neither),
    ] {
        refused(&site, layers, words);
        canary.assert_untouched();
    }
    links_that_are_taken(&site, &canary);
}

/// To a link: to the link itself, and what is then written replaces it. To a file below: to that.
fn links_that_are_taken(site: &Site, canary: &Canary) {
    let secret = format!("{}/secret", canary.text());
    let root = unpack(
        site,
        &[
            tar(&[symlink("s", &secret), file("low")]),
            tar(&[
                hard_link("h", "s"),
                hard_link("i", "s"),
                file("h"),
                hard_link("a", "low"),
                hard_link("b", "a"),
            ]),
        ],
    );
    canary.assert_untouched();
    let facts = |name: &str| root.join(name).symlink_metadata().unwrap();
    assert!(facts("h").is_file() && facts("s").is_symlink() && facts("i").is_symlink());
    assert_eq!(
        (facts("a").ino(), facts("b").nlink()),
        (facts("low").ino(), 3)
    );
}

/// A whiteout hides what lies below, by a mark; nothing is ever removed for it, least of all behind a link.
fn e05_cve_2020_10696_a_whiteout_removes_nothing() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let c = canary.text();
    for (entry, words) in [
        (file(".wh."), "a whiteout of no name"),
        (file(".wh.."), "a whiteout of no name"),
        (file(".wh..."), "a whiteout of no name"),
        (file("../.wh.canary"), "a path can't hold '..'"),
        (folder(".wh.d"), "a whiteout can't be a directory"),
        (file(".wh.d/f"), "a whiteout has nothing below it"),
        (file("d/.wh..wh..opq/f"), "a whiteout has nothing below it"),
    ] {
        refused(&site, &[tar(&[entry])], words);
    }
    let base = [
        folder("d"),
        file("d/low"),
        file("f"),
        folder("e"),
        file("e/low"),
        symlink("l", c),
    ];
    let marks = [
        file("l/.wh.secret"),
        file("l/.wh..wh..opq"),
        file("d/.wh..wh..opq"),
        file(".wh.e"),
        hard_link(".wh.f", "l/missing"),
        Entry::new(b'6', &format!("{c}/.wh.b")),
    ];
    let own = [folder("d"), file("d/own"), folder("e"), file("e/own")];
    for first in [true, false] {
        let top = match first {
            true => [&marks[..], &own[..]].concat(),
            false => [&own[..], &marks[..]].concat(),
        };
        let root = unpack(&site, &[tar(&base), tar(&top)]);
        canary.assert_untouched();
        let there = ["d/own", "e/own"].map(|name| root.join(name).is_file());
        let gone = ["d/low", "e/low", "f"].map(|name| root.join(name).exists());
        assert_eq!(
            (there, gone),
            ([true; 2], [false; 3]),
            "marks first: {first}"
        );
    }
}
