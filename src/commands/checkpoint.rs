//! `dhow checkpoint`: writes a container's processes to files. And the flags that restore shares.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use runtime::{CgroupMode, CheckpointOptions, ImageOptions, Store};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, warn};

/// Write a container's processes to files, by CRIU; it is deleted then, unless it is left running
#[derive(Debug, clap::Parser)]
#[command(name = "checkpoint")]
struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// An earlier checkpoint, seen from the image path: only what has changed since is written
    #[arg(long, value_name = "DIR")]
    parent_path: Option<String>,
    /// Write the memory alone and let the container run on
    #[arg(long)]
    pre_dump: bool,
    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Give files that were removed and are still open a name again
    #[arg(long)]
    link_remap: bool,
    /// Leave out TCP connections that are being made
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Send the memory to a page server
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server)]
    page_server: Option<(String, u16)>,
    /// With --lazy-pages: a descriptor that gets a NUL byte when memory can be fetched
    #[arg(long, value_name = "FD")]
    status_fd: Option<i32>,
    /// The container
    id: String,
}

/// The flags that checkpoint and restore share.
#[derive(Debug, clap::Args)]
pub(super) struct ImageArgs {
    /// The folder of the images
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    image_path: PathBuf,
    /// The folder of CRIU's log
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Take open TCP connections along
    #[arg(long)]
    tcp_established: bool,
    /// Allow connections of Unix sockets to the outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow the job of a shell
    #[arg(long)]
    shell_job: bool,
    /// Take file locks along
    #[arg(long)]
    file_locks: bool,
    /// Fetch memory when it is needed
    #[arg(long)]
    lazy_pages: bool,
    /// Take memory out of earlier images that a later one has
    #[arg(long)]
    auto_dedup: bool,
    /// soft, full, strict or ignore (checkpoint: soft, restore: ignore)
    #[arg(long, value_name = "MODE", value_parser = |word: &str| word.parse::<CgroupMode>())]
    manage_cgroups_mode: Option<CgroupMode>,
    /// network: make that namespace empty
    #[arg(long, value_name = "NAMESPACE", value_parser = ["network"])]
    empty_ns: Vec<String>,
}

impl ImageArgs {
    /// As the library takes them.
    pub(super) fn options(self, global: &Global) -> Result<ImageOptions, Failure> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
        };
        Ok(ImageOptions {
            images: absolute(self.image_path)?,
            work: self.work_path.map(absolute).transpose()?,
            criu: global.criu.clone(),
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            lazy_pages: self.lazy_pages,
            auto_dedup: self.auto_dedup,
            cgroups: self.manage_cgroups_mode,
            empty_network: !self.empty_ns.is_empty(),
        })
    }
}

fn page_server(text: &str) -> Result<(String, u16), String> {
    let (address, port) = text.rsplit_once(':').ok_or("is not ADDRESS:PORT")?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match port.parse() {
        Ok(port) if port != 0 && !address.is_empty() => Ok((address.to_owned(), port)),
        _ => Err("is not ADDRESS:PORT".to_owned()),
    }
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let id = args.id.parse()?;
    let options = CheckpointOptions {
        parent: args.parent_path,
        pre_dump: args.pre_dump,
        leave_running: args.leave_running,
        link_remap: args.link_remap,
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        page_server: args.page_server,
        status: args.status_fd.map(inherited).transpose()?,
        image: args.image.options(global)?,
    };
    let store = Store::new(global.state_root()?);
    let failed = runtime::checkpoint(&store, &id, &options)?;
    warn(&failed);
    Ok(0)
}

fn inherited(number: i32) -> Result<OwnedFd, Failure> {
    let known = u32::try_from(number).is_ok_and(sys::descriptor::is_inherited);
    match known {
        true => sys::descriptor::inherited(number).map_err(because),
        false => Err(Failure::new(format!(
            "--status-fd {number}: descriptor {number} is not open"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        assert_eq!(page_server("10.0.0.1:27"), Ok(("10.0.0.1".to_owned(), 27)));
        assert_eq!(page_server("[::1]:27"), Ok(("::1".to_owned(), 27)));
        for text in ["10.0.0.1", ":27", "a:0", "a:99999"] {
            assert!(page_server(text).is_err(), "{text}");
        }
    }
}
