//! E1: a matrix of ways that an entry may take out of its layer (links, `..`, folders that became links) and of kinds of
//! entries that take them, in one layer and across two. Not its job: what the entries do where they arrive (layers).

use super::Canary;
use super::archive::{Entry, file, folder, hard_link, symlink, tar};
use super::layers::{refused, unpack};
use crate::build::Site;
use crate::support::claims;

claims![
    e01_cve_2026_17106_no_shape_of_links_leads_out_of_a_layer: [Root, Dhow],
    e01_cve_2025_47290_what_can_only_lead_out_is_refused: [Root, Dhow],
];

/// What stands in the way of an entry: its setup (type, name, link), and the entry's name. `{c}` is the canary's path, `{s}`
/// the shape's own folder in the layer, `{up}` leads to the root from anywhere.
pub(super) struct Shape {
    way: &'static str,
    setup: &'static [(u8, &'static str, &'static str)],
    victim: &'static str,
}

const fn shape(
    way: &'static str,
    setup: &'static [(u8, &'static str, &'static str)],
    victim: &'static str,
) -> Shape {
    Shape { way, setup, victim }
}

/// Up to the root from anywhere.
pub(super) const UP: &str = "../../../../../../../../../../../..";

/// Ways through which something may be written, but into the layer.
pub(super) const INSIDE: &[Shape] = &[
    shape("an absolute link", &[(b'2', "l", "{c}")], "l/secret"),
    shape("a relative link", &[(b'2', "l", "{up}{c}")], "l/secret"),
    shape("a new name behind a link", &[(b'2', "l", "{c}")], "l/new"),
    shape(
        "folders behind a link",
        &[(b'2', "l", "{up}{c}")],
        "l/b/new/newer",
    ),
    shape(
        "a link to a link",
        &[(b'2', "k", "{c}"), (b'2', "l", "k"), (b'2', "m", "./l")],
        "m/secret",
    ),
    shape(
        "links that climb step by step",
        &[
            (b'5', "a/b", ""),
            (b'2', "a/b/up", ".."),
            (b'2', "a/b/up/up", "../{up}"),
        ],
        "a/up{c}/secret",
    ),
    shape(
        "a link below a link",
        &[(b'2', "l", "{up}"), (b'2', "l/{s}/k", "{c}")],
        "k/secret",
    ),
    shape("a link to a file", &[(b'2', "l", "{c}/secret")], "l"),
    shape("a link to a folder", &[(b'2', "l", "{c}")], "l"),
    shape("a slash behind a link", &[(b'2', "l", "{c}")], "l/"),
    shape(
        "slashes and dots",
        &[(b'2', "l", "{c}//./b/..//")],
        ".//l//.//secret",
    ),
    shape(
        "a hard link to a link",
        &[(b'2', "l", "{c}/secret"), (b'1', "h", "{s}/l")],
        "h",
    ),
    shape(
        "a hard link to a link to a folder",
        &[(b'2', "l", "{c}"), (b'1', "h", "{s}/l")],
        "h/secret",
    ),
    shape(
        "a folder that became a link",
        &[(b'5', "d", ""), (b'0', "d/secret", ""), (b'2', "d", "{c}")],
        "d/secret",
    ),
    shape(
        "a folder above that became a link",
        &[(b'5', "d/b", ""), (b'0', "d/b/x", ""), (b'2', "d", "{c}")],
        "d/b/new",
    ),
    shape(
        "a link that was a folder and a link",
        &[(b'2', "d", "{c}"), (b'5', "d", ""), (b'2', "d", "{up}{c}")],
        "d/secret",
    ),
    shape(
        "a link by way of /proc",
        &[(b'2', "l", "/proc/self/root{c}")],
        "l/secret",
    ),
    shape(
        "a link to the working directory",
        &[(b'2', "l", "/proc/self/cwd/canary")],
        "l/secret",
    ),
    shape("an absolute name", &[], "{c}/secret"),
    shape("slashes before the name", &[], "///.//{c}/b/new"),
];

/// Ways that nothing honest goes, and what is said of them.
pub(super) const OUTSIDE: &[(Shape, &str)] = &[
    (
        shape("dots", &[], "x/{up}{c}/secret"),
        "a path can't hold '..'",
    ),
    (
        shape("dots at the root", &[], "/..{c}/secret"),
        "a path can't hold '..'",
    ),
    (
        shape("dots behind a link", &[(b'2', "l", "{c}/b")], "l/../secret"),
        "a path can't hold '..'",
    ),
    (
        shape("a link to itself", &[(b'2', "l", "l")], "l/secret"),
        "too many links",
    ),
    (
        shape(
            "links in a circle",
            &[(b'2', "l", "k/x"), (b'2', "k", "l")],
            "l/secret",
        ),
        "too many links",
    ),
    (
        shape("below a file", &[(b'0', "f", "")], "f/secret"),
        "something else there",
    ),
    (
        shape("below a fifo", &[(b'6', "f", "")], "f/secret"),
        "something else there",
    ),
    (
        shape("below a device", &[(b'3', "f", "")], "f/secret"),
        "something else there",
    ),
];

/// What an entry may be.
pub(super) const KINDS: &[&str] = &[
    "file",
    "folder",
    "hard link",
    "link",
    "fifo",
    "device",
    "whiteout",
    "opaque",
];

/// The shape's entries: what goes before, and the victim of a kind. `number` makes its folder its own.
pub(super) fn entries(
    shape: &Shape,
    number: usize,
    kind: &str,
    canary: &Canary,
) -> (Vec<Entry>, Entry) {
    let own = format!("s{number}");
    let fill = |text: &str| {
        text.replace("{c}", canary.text())
            .replace("{s}", &own)
            .replace("{up}", UP)
    };
    let mut before = vec![folder(&own), file(&format!("{own}/own"))];
    for (flag, name, link) in shape.setup {
        before.push(Entry {
            link: fill(link),
            ..Entry::new(*flag, &format!("{own}/{}", fill(name)))
        });
    }
    let name = fill(shape.victim);
    let name = match name.starts_with('/') {
        true => name,
        false => format!("{own}/{name}"),
    };
    let victim = match kind {
        // Behind a slash it is a folder, which has no data.
        "file" if name.ends_with('/') => Entry::new(b'0', &name),
        "file" => file(&name),
        "folder" => Entry {
            mode: 0o777,
            owner: 1000,
            ..folder(&name)
        },
        "hard link" => hard_link(&name, &format!("{own}/own")),
        "link" => symlink(&name, &format!("{}/secret", canary.text())),
        "fifo" => Entry::new(b'6', &name),
        "device" => Entry::new(b'3', &name),
        "opaque" => file(&format!("{name}/.wh..wh..opq")),
        _ => {
            let (above, last) = name.trim_end_matches('/').rsplit_once('/').unwrap();
            file(&format!("{above}/.wh.{last}"))
        }
    };
    (before, victim)
}

/// In one layer, or the setup in one and the victims in one above.
fn layers(before: &[Entry], victims: &[Entry], count: usize) -> Vec<Vec<u8>> {
    match count {
        1 => vec![tar(&[before, victims].concat())],
        _ => vec![tar(before), tar(victims)],
    }
}

/// Every shape with every kind of entry behind it, all shapes of a kind in one image.
fn e01_cve_2026_17106_no_shape_of_links_leads_out_of_a_layer() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let inside = canary.path().strip_prefix("/").unwrap();
    for kind in KINDS {
        for count in [1, 2] {
            let shapes = INSIDE.iter().enumerate();
            let (before, victims): (Vec<_>, Vec<_>) = shapes
                .map(|(n, shape)| entries(shape, n, kind, &canary))
                .unzip();
            let root = unpack(&site, &layers(&before.concat(), &victims, count));
            canary.assert_untouched();
            // They went somewhere: where a container would find them.
            if !["whiteout", "opaque"].contains(kind) {
                let landed = root.join(inside).join("secret").symlink_metadata();
                assert!(landed.is_ok(), "{kind}, {count} layers");
            }
        }
    }
}

/// One image for each, since each is refused.
fn e01_cve_2025_47290_what_can_only_lead_out_is_refused() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    for (n, (shape, words)) in OUTSIDE.iter().enumerate() {
        for (m, kind) in KINDS.iter().enumerate() {
            let (before, victim) = entries(shape, n, kind, &canary);
            let count = 1 + (n + m) % 2;
            refused(&site, &layers(&before, &[victim], count), words);
            assert_eq!(
                canary.changes(),
                Vec::<String>::new(),
                "{kind} {}",
                shape.way
            );
        }
    }
}
