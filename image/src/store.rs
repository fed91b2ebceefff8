//! The store: blobs, unpacked layers and names of images below one directory.
//! Not its job: the formats that images come in.
//!
//! ```text
//! format                    "dhow image store 1"
//! index.json                images and their names; replaced whole, last of all
//! lock                      shared: to begin work; exclusive: to publish, to remove
//! blobs/sha256/HEX          configs, manifests, layers as they came
//! layers/KEY/fs             an unpacked layer, a folder or an image; KEY is its diff id and the owner policy
//! layers/KEY/layer.json     what it turned out to be
//! layers/KEY/packed.json    what it was compressed to on its way out
//! mounts/HEX                where an image is mounted
//! work/NAME                 what is being made, locked by its maker; left-overs are removed
//! used/HEX                  what a container keeps, as long as its directory is there
//! cache/HEX.json            the builder's, but what it refers to stays
//! builds/HEX.json           the builder's: what the last build of a recipe looked for
//! damaged/NAME              a blob or layer that a check found damaged: not used again
//! ```
//!
//! Nothing becomes visible before it is whole and on the disk: it is made in `work`, synced, renamed
//! into place, and only then named in the index.

mod bundle;
mod check;
mod commit;
mod damage;
mod form;
mod gather;
mod index;
mod layer;
mod layout;
mod lease;
mod ledger;
mod lend;
mod load;
mod media_types;
mod mounted;
pub(crate) mod outgoing;
mod packed;
pub(crate) mod packing;
mod parallel;
mod prune;
mod publish;
mod read_layer;
mod references;
mod refresh;
mod remove;
mod repack;
mod save;
mod stages;
mod verify_layer;
mod work;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;
use sys::at::{self, Mode, OFlags};
use sys::file::{self, Durability, Lock, Wait};
use sys::mount::Tree;
use sys::{Errno, SysError};

pub use self::check::{Checked, Depth, Fault, Left, Part};
pub use self::commit::CommitOptions;
pub use self::form::Form;
pub use self::layer::{Layer, lower};
pub use self::lease::Lease;
pub use self::lend::{Lender, Lent};
pub use self::load::{LoadOptions, Loaded, Names};
pub use self::media_types::MediaTypes;
pub use self::mounted::Mounted;
pub use self::outgoing::{Leaving, Outgoing};
pub use self::prune::{Prunable, PruneOptions, Pruned};
pub use self::remove::{Removal, Removed};
pub use self::repack::{Changed, PathChange, RepackOptions};
pub use self::save::Format;
pub use self::work::Scratch;

use self::index::{Index, Record};
use crate::error::Doing;
use crate::layer::unpack::Manner;
use crate::layer::whiteout::OverlayXattrs;
use crate::{Digest, Error, OwnerPolicy, Reference, Result, manifest};

const FORMAT: &str = "dhow image store 1\n";

/// An image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the config's bytes.
    pub id: Digest,
    /// The digest of the manifest's bytes.
    pub manifest: Digest,
    /// The names it goes by, sorted; may be empty.
    pub names: Vec<Reference>,
    /// Its layers, the lowest first. An overlay wants them the other way round: [`Image::lower`].
    pub layers: Vec<Layer>,
    /// The config's bytes, as they came: unknown fields and all.
    pub config: Vec<u8>,
    /// The config, typed.
    pub configuration: ImageConfiguration,
}

impl Image {
    /// The unpacked layers, top first, as overlay's `lowerdir` wants them.
    pub fn lower(&self) -> Vec<Tree> {
        lower(&self.layers)
    }

    /// When it was made, as it says itself: nanoseconds since 1970. `None` if it says nothing, or no time.
    pub fn made_at(&self) -> Option<i128> {
        let created = self.configuration.created().as_deref()?;
        let time: jiff::Timestamp = created.parse().ok()?;
        Some(time.as_nanosecond())
    }

    /// Bytes of all its layers, uncompressed.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.tar_size).sum()
    }
}

/// A store of images.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    dir: OwnedFd,
    manner: Manner,
    new_layers: Form,
}

impl Store {
    /// Opens the store at `path`, and makes it (mode 0700) if nothing is there. Files belong to whom
    /// the layers record as root, and to us otherwise.
    ///
    /// # Errors
    /// Names the path if it can't be made, or is no store, or one of another format.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, OwnerPolicy::ours())
    }

    /// As [`Store::open`], with an owner policy of the caller's choice.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: &Path, owners: OwnerPolicy) -> Result<Self> {
        let doing = || format!("open the store {}", path.display());
        file::create_dir_all(path, mode()).doing(doing)?;
        let path = file::canonical(path).doing(doing)?;
        let dir = file::open_dir(&path).doing(doing)?;
        make_private(&dir).doing(doing)?;
        let overlay = overlay_xattrs(&dir);
        let store = Self {
            path,
            dir,
            manner: Manner { owners, overlay },
            new_layers: Form::Folder,
        };
        store.prepare()?;
        store.remove_leftovers()?;
        Ok(store)
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All images, by name; those without a name last.
    ///
    /// # Errors
    /// If the index or a config can't be read.
    pub fn images(&self) -> Result<Vec<Image>> {
        let index = self.index()?;
        let mut images = Vec::with_capacity(index.images.len());
        for (id, record) in &index.images {
            images.push(self.image(&index, *id, record)?);
        }
        images.sort_by(|a, b| {
            let key = |image: &Image| (image.names.is_empty(), image.names.clone(), image.id);
            key(a).cmp(&key(b))
        });
        Ok(images)
    }

    /// The image with the name `wanted` (docker's rules for what a person leaves out), or whose id
    /// begins with it (with or without `sha256:`). A name wins over an id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`].
    pub fn find(&self, wanted: &str) -> Result<Image> {
        let index = self.index()?;
        let id = index.find(wanted, &self.path)?;
        self.image(&index, id, &index.images[&id])
    }

    /// Gives `image` one more name; a name that another image has moves here.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if the image was removed meanwhile.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<()> {
        let work = self.work()?;
        let _lock = self.lock(Lock::Exclusive)?;
        let mut index = self.index()?;
        if !index.images.contains_key(&image.id) {
            return Err(Error::NoSuchImage {
                wanted: image.id.to_string(),
                store: self.path.clone(),
            });
        }
        index.name(name, image.id)?;
        self.write_index(&work, &index)
    }

    fn image(&self, index: &Index, id: Digest, record: &Record) -> Result<Image> {
        let config = self.read_blob(id, "config")?;
        let configuration = manifest::configuration(&config)?;
        let bytes = self.read_blob(record.manifest, "manifest")?;
        let descriptors = manifest::layers(&bytes)?;
        let diff_ids = manifest::diff_ids(&configuration)?;
        let layers = layer::assemble(&self.path, &descriptors, &diff_ids, &record.layers)
            .map_err(|e| e.inside(format!("image {id}")))?;
        Ok(Image {
            id,
            manifest: record.manifest,
            names: index.names_of(id),
            layers,
            config,
            configuration,
        })
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// A config's or manifest's bytes, checked against the digest they are kept under.
    fn read_blob(&self, digest: Digest, role: &str) -> Result<Vec<u8>> {
        let doing = || format!("read {role} {digest}");
        let bytes = file::read(self.blob_path(digest), crate::json::MAX_DOCUMENT).doing(doing)?;
        let found = Digest::of(&bytes);
        match found == digest {
            true => Ok(bytes),
            false => Err(crate::digest::mismatch(
                format!("{role} in the store"),
                "digest",
                digest,
                found,
            )),
        }
    }

    /// Makes what a store has; all of it may be there already.
    fn prepare(&self) -> Result<()> {
        if self.has_format()? {
            return Ok(());
        }
        self.check_empty()?;
        // Several processes may find a store that is not there yet.
        let _lock = self.lock(Lock::Exclusive)?;
        if self.has_format()? {
            return Ok(());
        }
        let doing = || format!("prepare the store {}", self.path.display());
        for name in ["blobs", "blobs/sha256", "layers", "work"] {
            file::create_dir_all(self.path.join(name), mode()).doing(doing)?;
        }
        for name in ["blobs", ".."] {
            publish::sync(file::open_dir(self.path.join(name)).doing(doing)?).doing(doing)?;
        }
        let format = FORMAT.as_bytes();
        file::replace(&self.dir, "format", format, 0o600, Durability::Disk).doing(doing)
    }

    /// Whether it is a store already, of our format.
    fn has_format(&self) -> Result<bool> {
        let doing = || format!("prepare the store {}", self.path.display());
        match file::read(self.path.join("format"), 1000) {
            Ok(found) if found == FORMAT.as_bytes() => Ok(true),
            Ok(found) => {
                let found = String::from_utf8_lossy(&found).trim_end().to_owned();
                Err(Error::refused(
                    doing(),
                    format!("its format is {found:?}, not {:?}", FORMAT.trim_end()),
                ))
            }
            Err(e) if e.errno == Errno::NOENT => Ok(false),
            Err(e) => Err(e).doing(doing),
        }
    }

    /// A directory of somebody's must not become a store by mistake. Parts of one may be there: another
    /// process is making them.
    fn check_empty(&self) -> Result<()> {
        let doing = || format!("prepare the store {}", self.path.display());
        let known = ["format", "lock", "blobs", "layers", "work"];
        let foreign = |name: &str| !known.contains(&name) && !name.starts_with('.');
        for (name, _) in file::list(&self.dir).doing(doing)? {
            if name.to_str().is_none_or(foreign) {
                let what = self.path.display().to_string();
                let rule = format!("it holds {name:?} and is no image store");
                return Err(Error::refused(what, rule));
            }
        }
        Ok(())
    }

    /// Takes the store's lock until the fd is dropped.
    fn lock(&self, lock: Lock) -> Result<OwnedFd> {
        let doing = || format!("lock the store {}", self.path.display());
        let fd = self.lock_file().doing(doing)?;
        file::lock(&fd, lock, Wait::Block).doing(doing)?;
        Ok(fd)
    }

    fn lock_file(&self) -> sys::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at::openat(&self.dir, "lock", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| SysError::new("open", self.path.join("lock").display(), errno))
    }

    fn index(&self) -> Result<Index> {
        let doing = || format!("read the index of {}", self.path.display());
        match file::read(self.path.join("index.json"), index::MAX_INDEX) {
            Ok(bytes) => Index::parse(&bytes),
            Err(e) if e.errno == Errno::NOENT => Ok(Index::default()),
            Err(e) => Err(e).doing(doing),
        }
    }
}

/// Nobody else may look into a store: its layers hold setuid files (CVE-2021-41091, CVE-2024-25621).
fn make_private(dir: &OwnedFd) -> sys::Result<()> {
    let fail = |call| move |errno| SysError::new(call, "", errno);
    let stat = at::fstat(dir).map_err(fail("fstat"))?;
    if stat.st_uid != sys::privileges::ids().0 {
        return Err(SysError::new("open", "", Errno::PERM).with_note("it belongs to another user"));
    }
    match stat.st_mode & 0o077 {
        0 => Ok(()),
        _ if sys::fault::broken("no-private-store") => Ok(()),
        _ => at::fchmod(dir, Mode::RWXU).map_err(fail("fchmod")),
    }
}

/// The mode of the store's directories.
fn mode() -> u32 {
    match sys::fault::broken("no-private-store") {
        true => 0o755,
        false => 0o700,
    }
}

/// `trusted.*` may be set by real root alone; in a user namespace overlay reads `user.*`.
fn overlay_xattrs(dir: &OwnedFd) -> OverlayXattrs {
    let name = "trusted.dhow.probe";
    match at::fsetxattr(dir, name, b"", at::XattrFlags::empty()) {
        Ok(()) => {
            // It was only asked whether we may.
            let _harmless = at::fremovexattr(dir, name);
            OverlayXattrs::Trusted
        }
        Err(_) => OverlayXattrs::User,
    }
}
