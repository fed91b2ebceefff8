//! A container in the making whose processes CRIU makes again. Intent first, then the cgroup with its limits,
//! then CRIU inside of it; what comes out is held against the bundle before it runs on.
//! Not its job: staying beside the container (restore), what is checked (restore/confined).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use namespaces::Namespace;
use rootfs::What;
use sys::log::debug;
use sys::process::{Pid, Process};

use super::{Created, Creation};
use crate::criu::images::Images;
use crate::criu::{CgroupMode, CgroupSight, Criu, Kind, Notice, Request, Surroundings, option};
use crate::hooks::{self, Running, Setting};
use crate::life::checkpoint::{EXTERNAL_NETWORK, ImageOptions, because, common};
use crate::life::options::{CreateOptions, RootSource};
use crate::life::prepare::{self, Prepared};
use crate::life::restore::confined::Demands;
use crate::life::{kill, made};
use crate::plan::Step;
use crate::state::{ProcessId, Status};
use crate::{Error, Result};

/// The folder in the container's directory at which CRIU finds the root, as a mount of its own.
const ROOT: &str = "root";

/// The folder of CRIU's log, unless the caller names one.
const WORK: &str = "criu";

const LOG: &str = "restore.log";

impl Creation {
    /// Makes the container of a checkpoint.
    ///
    /// # Errors
    /// Whatever failed; nothing is left behind then.
    pub(crate) fn revive(mut options: CreateOptions, image: &ImageOptions) -> Result<Created> {
        options.store.refuse_taken(&options.id)?;
        let RootSource::Folder(root) = &options.root else {
            return Err(Error::Usage(
                "restore: the root must be a folder".to_owned(),
            ));
        };
        let root = root.clone();
        refuse_what_criu_lacks(&options)?;
        let images = Images::open(&image.images)?;
        let named = image.work.as_deref().map(Images::make_work).transpose()?;
        let mut prepared = prepare::think(&options)?;
        let entering = prepare::entering(&prepared, &options)?;
        let place = options.store.claim(&options.id)?;
        let mut creation = Self::intend(place, &options, &prepared);
        creation.pidfd_socket = options.pidfd_socket.take();
        let revived = creation
            .record_intent()
            .and_then(|()| match &entering {
                Some(entering) => creation.place.save_entering(entering),
                None => Ok(()),
            })
            .and_then(|()| {
                creation.limit(prepared.cgroup.take(), None)?;
                creation.filter_devices()?;
                let folder = options.store.root().join(options.id.as_str());
                let work = match named {
                    Some(work) => work,
                    None => Images::make(&folder.join(WORK))?,
                };
                let revival = Revival {
                    options: &options,
                    image,
                    prepared: &prepared,
                    root: &root,
                    place: folder.join(ROOT),
                };
                revival
                    .run(&mut creation, &images, &work)
                    .map_err(|error| because(error, &work, LOG))
            });
        match revived {
            Ok(process) => Ok(Created {
                record: creation.record.clone(),
                process,
                cgroup: creation.cgroup.take().map(|made| made.cgroup),
                // Its readiness was told by the container that was written down.
                proxy: None,
            }),
            Err(error) => Err(creation.undo_revival(error)),
        }
    }

    /// What came of it is no child of a step that [`Creation::undo`] knows.
    fn undo_revival(self, error: Error) -> Error {
        let ended = match self.record.init {
            Some(_) => kill::everything(&self.record),
            None => Ok(()),
        };
        let error = self.undo(error);
        match ended {
            Ok(()) => error,
            Err(e) => Error::AndThen {
                first: Box::new(error),
                notes: vec![crate::error::chain(&e)],
            },
        }
    }

    fn heard(&mut self, notice: &Notice, fd: Option<OwnedFd>, asked: &Asked<'_>) -> Result<()> {
        match notice.script.as_str() {
            "setup-namespaces" => self.hooks_outside(notice.pid),
            "post-restore" => self.save_restored(notice.pid),
            // They stand still until we answer. CRIU lets them go whatever we say: they end first.
            "pre-resume" => self.compare(asked).inspect_err(|_| {
                let _undo_says_what_is_left = kill::everything(&self.record);
            }),
            "orphan-pts-master" => match (asked.console, fd) {
                // As the first process of a new container sends it.
                (Some(socket), Some(master)) => {
                    sys::socket::send(socket, b"/dev/ptmx", Some(master.as_fd()))
                        .map_err(Error::host("send the terminal"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn hooks_outside(&mut self, pid: i32) -> Result<()> {
        let state = self.record.report(Status::Creating).with_pid(pid).to_json();
        let setting = Setting::of(&self.record)?;
        for (kind, index, hook) in self.outside_hooks.drain(..) {
            Running::start(&hook, &setting, &state)
                .map_err(|e| e.to_string())
                .and_then(Running::wait)
                .map_err(|reason| hooks::failed(kind, index, &hook, reason))?;
        }
        Ok(())
    }

    /// From here on other verbs know the first process.
    fn save_restored(&mut self, pid: i32) -> Result<()> {
        self.record.init = ProcessId::of(pid).map_err(Error::host("look at the first process"))?;
        self.record.creator = None;
        let Some(init) = self.record.init else {
            return Err(Error::Words("criu restored no first process".to_owned()));
        };
        // Its lock says that a program has not begun: this one has.
        let _until_it_is_written = self.place.lock_init()?;
        self.place.save_init(init)
    }

    fn compare(&self, asked: &Asked<'_>) -> Result<()> {
        let Some(init) = self.record.init else {
            return Err(Error::Words("criu restored no first process".to_owned()));
        };
        let Some(demands) = &asked.demands else {
            return Ok(());
        };
        let all = match &self.cgroup {
            Some(made) => made.home().processes()?,
            None => vec![init.pid],
        };
        let theirs: Vec<i32> = all.into_iter().filter(|pid| *pid != asked.criu).collect();
        if self.cgroup.is_some() && !theirs.contains(&init.pid) {
            return Err(Error::Words(format!(
                "restore: process {} of the checkpoint is not in the container's cgroup",
                init.pid
            )));
        }
        demands.met_by(init.pid, &theirs)?;
        debug(format_args!(
            "{}: confined as the bundle says",
            self.record.id
        ));
        Ok(())
    }
}

/// What a start would do from outside, and CRIU leaves out.
fn refuse_what_criu_lacks(options: &CreateOptions) -> Result<()> {
    let Some(linux) = options.spec.linux() else {
        return Ok(());
    };
    for (field, asked) in [
        ("intelRdt", linux.intel_rdt().is_some()),
        (
            "netDevices",
            linux.net_devices().as_ref().is_some_and(|d| !d.is_empty()),
        ),
    ] {
        if asked {
            return Err(Error::Usage(format!(
                "linux.{field}: a container that is restored can't have it"
            )));
        }
    }
    Ok(())
}

/// What is answered from while CRIU works.
struct Asked<'a> {
    criu: i32,
    console: Option<&'a OwnedFd>,
    demands: Option<Demands<'a>>,
}

/// A restore that is thought through.
struct Revival<'a> {
    options: &'a CreateOptions,
    image: &'a ImageOptions,
    prepared: &'a Prepared,
    root: &'a Path,
    place: PathBuf,
}

impl Revival<'_> {
    fn run(&self, creation: &mut Creation, images: &Images, work: &Images) -> Result<Process> {
        sys::file::create_dir(&self.place, 0o700).map_err(Error::host("make criu's root"))?;
        self.mount_points()?;
        let mut around = Surroundings {
            program: self.image.criu.clone(),
            tree: Some((rootfs::open_root(self.root)?, self.place.clone())),
            // From its first moment: all that it makes is in the cgroup too.
            cgroup: self.cgroup(creation)?,
            no_new_privileges: self
                .options
                .spec
                .process()
                .as_ref()
                .is_some_and(|process| process.no_new_privileges() == Some(true)),
            fds: Vec::new(),
        };
        let request = self.request(images, work, &mut around)?;
        let criu = Criu::start(around)?;
        if let Some(made) = &mut creation.cgroup {
            made.settle()?;
        }
        let asked = Asked {
            criu: criu.pid(),
            console: self.options.console_socket.as_ref(),
            demands: Demands::of(&self.options.spec, &self.prepared.set, self.root),
        };
        let mut compared = false;
        criu.ask(&request, |notice, fd| {
            creation.heard(notice, fd, &asked)?;
            compared |= notice.script == "pre-resume";
            Ok(())
        })?;
        if !compared {
            return Err(Error::Words(
                "restore: criu did not stop for a look at what it made: it is too old".to_owned(),
            ));
        }
        self.finish(creation)
    }

    fn cgroup(&self, creation: &Creation) -> Result<Option<(OwnedFd, CgroupSight)>> {
        let Some(made) = &creation.cgroup else {
            return Ok(None);
        };
        // In another mode than ours CRIU makes the namespace that was written down.
        let own = self.prepared.set.creates(Namespace::Cgroup) && self.mode() == CgroupMode::Ignore;
        let sight = match own {
            true => CgroupSight::Own,
            false => CgroupSight::Callers,
        };
        let dir = made.home().dir().try_clone_to_owned();
        dir.map(|dir| Some((dir, sight)))
            .map_err(|e| Error::host("the cgroup")(sys::SysError::from_io("dup", "", &e)))
    }

    /// The checkpoint's word on cgroups would put its processes beside the one with the limits.
    fn mode(&self) -> CgroupMode {
        self.image.cgroups.unwrap_or(CgroupMode::Ignore)
    }

    /// A handle of the first process, which is our child: CRIU made it as its sibling.
    fn finish(&self, creation: &mut Creation) -> Result<Process> {
        let init = creation.record.init;
        let pid = init.and_then(|init| Pid::from_raw(init.pid));
        let pid = pid.ok_or_else(|| Error::Words("criu restored no first process".to_owned()))?;
        let doing = "open the first process";
        let pidfd = sys::process::open_process(pid).map_err(Error::host(doing))?;
        if let Some(path) = &creation.pid_file {
            made::pid_file(path, pid.as_raw_nonzero().get())?;
            creation.ready = true;
        }
        if let Some(socket) = creation.pidfd_socket.take() {
            made::send_pidfd(&socket, b"standard", &pidfd)?;
        }
        debug(format_args!("{}: restored", creation.record.id));
        Ok(Process { pid, pidfd })
    }

    fn request(
        &self,
        images: &Images,
        work: &Images,
        around: &mut Surroundings,
    ) -> Result<Request> {
        let place = self
            .place
            .to_str()
            .ok_or_else(|| Error::Usage("--root: restore needs a path of UTF-8".to_owned()))?;
        let mut request = Request {
            kind: Kind::Restore,
            options: common(self.image, images, Some(work)),
        };
        request
            .options
            .flag(option::EVASIVE_DEVICES, true)
            .flag(option::RST_SIBLING, true)
            .text(option::LOG_FILE, LOG)
            .text(option::ROOT, place);
        request.cgroup_mode(self.mode());
        for (destination, source) in self.binds() {
            request.external_mount(&destination.to_string_lossy(), &source.to_string_lossy());
        }
        self.namespaces(&mut request, around)?;
        for (number, name) in (0..).zip(images.descriptors()?) {
            if name.starts_with("pipe:") {
                request.inherit(&name, number);
            }
        }
        Ok(request)
    }

    fn namespaces(&self, request: &mut Request, around: &mut Surroundings) -> Result<()> {
        for join in &self.prepared.set.join {
            let path = join.path.to_string_lossy();
            if join.namespace == Namespace::Network {
                let file = sys::file::open(&join.path).map_err(Error::host(join.field.clone()))?;
                request.inherit(EXTERNAL_NETWORK, file.as_raw_fd());
                around.fds.push(OwnedFd::from(file));
            } else if join.namespace == Namespace::Cgroup {
                return Err(Error::Usage(format!(
                    "{}: CRIU can't join a cgroup namespace",
                    join.field
                )));
            } else {
                request.join(join.namespace.proc_name(), &path);
            }
        }
        Ok(())
    }

    fn binds(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        let steps = self.prepared.plan.init.iter();
        steps.filter_map(|step| match step {
            Step::Mount(_, mount) => match &mount.what {
                What::Bind { source, .. } => Some((&mount.destination, source)),
                _ => None,
            },
            _ => None,
        })
    }

    /// CRIU makes no mount points in the root: a new copy of the bundle may lack them. Those on other mounts
    /// come with these.
    fn mount_points(&self) -> Result<()> {
        let dir = sys::file::open_dir(self.root).map_err(Error::host("root.path"))?;
        let root = sys::beneath::Root::new(dir);
        let mounts = self
            .prepared
            .plan
            .init
            .iter()
            .filter_map(|step| match step {
                Step::Mount(_, mount) => Some(mount),
                _ => None,
            });
        let mut covered: Vec<&Path> = Vec::new();
        for mount in mounts {
            let place = mount.destination.as_path();
            let hidden = covered.iter().any(|above| place.starts_with(above));
            covered.push(place);
            let doing = || format!("make the mount point {}", place.display());
            if hidden || root.find(place).map_err(Error::host(doing()))?.is_some() {
                continue;
            }
            let is_file = match &mount.what {
                What::Bind { source, .. } => {
                    !sys::file::is_dir(source).map_err(Error::host(doing()))?
                }
                _ => false,
            };
            let made = match is_file {
                true => root.create_file(place, 0o755),
                false => root.create_dir_all(place, 0o755),
            };
            made.map_err(Error::host(doing()))?;
        }
        Ok(())
    }
}
