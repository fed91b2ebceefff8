//! `checkpoint`: writes a container's processes to files, by CRIU. Not its job: what CRIU does with a process
//! (criu), making them again (restore).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use namespaces::{Namespace, NamespaceSet};
use oci_spec::runtime::Spec;
use rootfs::{CgroupView, Surroundings, What};

use crate::criu::images::{Images, complaints};
use crate::criu::{CgroupMode, Criu, FAILED, Kind, Request, option};
use crate::life::delete::{Force, delete};
use crate::life::pause::look;
use crate::state::{Record, Status};
use crate::store::Store;
use crate::{Bundle, ContainerId, Error, Result};

/// What `checkpoint` and `restore` are both told.
#[derive(Debug, Default)]
pub struct ImageOptions {
    /// The folder of the images.
    pub images: PathBuf,
    /// The folder of CRIU's log and other files of its own.
    pub work: Option<PathBuf>,
    /// The program; `criu` in PATH.
    pub criu: Option<PathBuf>,
    /// Open TCP connections go along.
    pub tcp_established: bool,
    /// Connections of Unix sockets to the outside are allowed.
    pub ext_unix_sk: bool,
    /// It is the job of a shell.
    pub shell_job: bool,
    /// File locks go along.
    pub file_locks: bool,
    /// Memory is fetched when it is needed.
    pub lazy_pages: bool,
    /// Memory that a later image has is taken out of an earlier one.
    pub auto_dedup: bool,
    /// What is done about cgroups.
    pub cgroups: Option<CgroupMode>,
    /// The network namespace is made empty: somebody else fills it.
    pub empty_network: bool,
}

/// What `checkpoint` alone is told.
#[derive(Debug, Default)]
pub struct CheckpointOptions {
    /// What both are told.
    pub image: ImageOptions,
    /// An earlier checkpoint, from the folder of the images: `../first`.
    pub parent: Option<String>,
    /// Only memory is written, and the container runs on.
    pub pre_dump: bool,
    /// The container runs on.
    pub leave_running: bool,
    /// Files that were removed and are open get a name again.
    pub link_remap: bool,
    /// TCP connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Memory goes there: address and port.
    pub page_server: Option<(String, u16)>,
    /// Gets a NUL byte when memory can be fetched.
    pub status: Option<OwnedFd>,
}

/// CRIU's name for the network namespace that a container has joined by path.
pub(super) const EXTERNAL_NETWORK: &str = "extRootNetNS";

/// The log of a checkpoint.
const LOG: &str = "dump.log";

/// CRIU tells all that it does: its log is where it is looked for what failed.
pub(super) const LOG_LEVEL: u64 = 4;

/// Writes the container `id` to files; unless it is to run on, it is deleted then. Gives the failures of its
/// poststop hooks.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] unless it runs or is paused; what CRIU complains of, and then it runs
/// on.
pub fn checkpoint(
    store: &Store,
    id: &ContainerId,
    options: &CheckpointOptions,
) -> Result<Vec<Error>> {
    let place = store.lock(id)?;
    let (record, status) = look(&place)?;
    let pid = first_process(&record, status)?;
    let spec = Bundle::open(&record.bundle, None)?.spec;
    let images = Images::make(&options.image.images)?;
    let work = options
        .image
        .work
        .as_deref()
        .map(Images::make_work)
        .transpose()?;
    let mut request = Request {
        kind: if options.pre_dump {
            Kind::PreDump
        } else {
            Kind::Dump
        },
        options: common(&options.image, &images, work.as_ref()),
    };
    fill(&mut request, options, &record, pid)?;
    if !options.pre_dump {
        for place in external(&spec, &record)? {
            request.external_mount(&place, &place);
        }
        images.write_descriptors(&stdio(pid))?;
    }
    networks(&mut request, &spec)?;
    let around = crate::criu::Surroundings {
        program: options.image.criu.clone(),
        ..Default::default()
    };
    let dumped = Criu::start(around)?.ask(&request, |notice, _| {
        match (notice.script.as_str(), &options.status) {
            ("status-ready", Some(status)) => tell_ready(status),
            _ => Ok(()),
        }
    });
    dumped.map_err(|error| {
        let folder = work.as_ref().unwrap_or(&images);
        because(error, folder, LOG)
    })?;
    sys::log::debug(format_args!(
        "{id}: {} done",
        options.image.images.display()
    ));
    drop(place);
    match options.pre_dump || options.leave_running {
        true => Ok(Vec::new()),
        false => delete(store, id, Force::Yes),
    }
}

/// The process from which on CRIU writes all down.
fn first_process(record: &Record, status: Status) -> Result<i32> {
    let refused = |reason: String| Error::Status {
        id: record.id.clone(),
        reason,
    };
    let init = match (status, record.init) {
        (Status::Running | Status::Paused, Some(init)) => init,
        _ => {
            let status = status.word();
            let reason = format!("container cannot be checkpointed in the {status} state");
            return Err(refused(reason));
        }
    };
    match record.rootfs.as_os_str().is_empty() {
        false => Ok(init.pid),
        true => Err(refused(
            "a container of an image has no bundle to be restored with".to_owned(),
        )),
    }
}

/// What CRIU's log complains of, in place of the one thing that it has told us.
pub(super) fn because(error: Error, folder: &Images, log: &str) -> Error {
    let Error::Words(words) = &error else {
        return error;
    };
    match (words.split_once(FAILED), complaints(&folder.dir, log)) {
        (Some((asked, _)), Some(why)) => Error::Words(format!("{asked}{FAILED}{why}")),
        _ => error,
    }
}

/// The options that checkpoint and restore share. CRIU opens the folders by our own descriptors' numbers. No
/// annotation adds to them (`org.criu.config` names a file of options: B10's class of holes).
pub(super) fn common(
    options: &ImageOptions,
    images: &Images,
    work: Option<&Images>,
) -> crate::criu::Message {
    let number = |fd: &OwnedFd| u64::from(fd.as_raw_fd().unsigned_abs());
    let mut message = crate::criu::Message::default();
    message
        .number(option::IMAGES_DIR_FD, number(&images.dir))
        .number(option::LOG_LEVEL, LOG_LEVEL)
        .flag(option::NOTIFY_SCRIPTS, true)
        .flag(option::TCP_ESTABLISHED, options.tcp_established)
        .flag(option::EXT_UNIX_SK, options.ext_unix_sk)
        .flag(option::SHELL_JOB, options.shell_job)
        .flag(option::FILE_LOCKS, options.file_locks)
        .flag(option::LAZY_PAGES, options.lazy_pages)
        .flag(option::AUTO_DEDUP, options.auto_dedup)
        .flag(option::ORPHAN_PTS_MASTER, true);
    if let Some(work) = work {
        message.number(option::WORK_DIR_FD, number(&work.dir));
    }
    if options.empty_network {
        message.number(option::EMPTY_NS, Namespace::Network.flag());
    }
    message
}

fn fill(
    request: &mut Request,
    options: &CheckpointOptions,
    record: &Record,
    pid: i32,
) -> Result<()> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            Error::Words(format!("{}: a path for CRIU must be UTF-8", path.display()))
        })
    };
    request
        .options
        .number(option::PID, pid.unsigned_abs())
        .text(option::LOG_FILE, LOG)
        .text(option::ROOT, &text(&record.rootfs)?)
        .flag(option::LEAVE_RUNNING, options.leave_running)
        .flag(option::LINK_REMAP, options.link_remap)
        .flag(option::TCP_SKIP_IN_FLIGHT, options.tcp_skip_in_flight)
        .flag(
            option::TRACK_MEM,
            options.pre_dump || options.parent.is_some(),
        );
    request.cgroup_mode(options.image.cgroups.unwrap_or(CgroupMode::Soft));
    if let Some(cgroup) = &record.cgroup {
        request.options.text(option::FREEZE_CGROUP, &text(cgroup)?);
    }
    if let Some(parent) = &options.parent {
        let path = options.image.images.join(parent);
        if parent.starts_with('/') || !sys::file::is_dir(&path).unwrap_or(false) {
            return Err(Error::Usage(format!(
                "--parent-path {parent}: is no folder, seen from --image-path {}",
                options.image.images.display()
            )));
        }
        request.options.text(option::PARENT_IMG, parent);
    }
    if let Some((address, port)) = &options.page_server {
        request.page_server(address, *port);
    }
    Ok(())
}

/// The places of bind mounts: what is bound there is the host's, and comes from the bundle again.
pub(super) fn external(spec: &Spec, record: &Record) -> Result<Vec<String>> {
    let set = NamespaceSet::from_spec(spec)?;
    let around = Surroundings {
        bundle: &record.bundle,
        cgroup: match (set.has(Namespace::Cgroup), &record.cgroup) {
            (false, Some(directory)) => CgroupView::Directory(directory.clone()),
            _ => CgroupView::Namespace,
        },
        propagation: None,
        label: None,
    };
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let steps = rootfs::steps(mounts, &around)?;
    let binds = steps
        .iter()
        .filter(|step| matches!(step.what, What::Bind { .. }));
    Ok(binds
        .map(|step| step.destination.to_string_lossy().into_owned())
        .collect())
}

/// A network namespace that was joined is somebody else's: CRIU leaves it as it is.
fn networks(request: &mut Request, spec: &Spec) -> Result<()> {
    let set = NamespaceSet::from_spec(spec)?;
    if let Some(join) = set.joins(Namespace::Network) {
        let inode = sys::file::follow(&join.path)
            .map_err(Error::host(join.field.clone()))?
            .ino();
        let external = format!("net[{inode}]:{EXTERNAL_NETWORK}");
        request.options.text(option::EXTERNAL, &external);
    }
    Ok(())
}

/// What stdio is open on: `pipe:[4711]`. A pipe's other end is somebody else's; `restore` puts its own there.
fn stdio(pid: i32) -> [String; 3] {
    [0, 1, 2].map(|number| {
        sys::file::read_link(format!("/proc/{pid}/fd/{number}"))
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default()
    })
}

fn tell_ready(status: &OwnedFd) -> Result<()> {
    let doing = "write to --status-fd";
    let copy = status
        .try_clone()
        .map_err(|e| Error::host(doing)(sys::SysError::from_io("dup", "", &e)))?;
    File::from(copy)
        .write_all(&[0])
        .map_err(|e| Error::host(doing)(sys::SysError::from_io("write", "", &e)))
}
