//! `dhow exec`: a further process in a container. Its exit status is the process' own; 255 is our failure.

use std::ffi::OsString;
use std::path::PathBuf;

use runtime::{Asked, Background, ExecOptions, Stdio, Store};

use super::create::check_preserved;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because};

/// Our own failure, in runc's count.
pub(crate) const OURS: u8 = 255;

/// Run a further process in a container
#[derive(Debug, clap::Parser)]
#[command(name = "exec")]
struct Args {
    /// Come back when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Its user inside: UID or UID:GID
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    user: Option<(u32, Option<u32>)>,
    /// The working directory inside
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A variable of the environment, NAME=value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A capability beside those of the container's own process
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// A file that describes the process as config.json's `process` does
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// A file that gets the process' id
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// A socket that gets a handle of the process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Give the program this many descriptors after stdio
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// A group beside those of the user
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// No exec gives the process new privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// The cgroup below the container's in which it is to be
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// A paused container is no hindrance: the program begins when it goes on
    #[arg(long)]
    ignore_paused: bool,
    /// The container
    id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    run_in(global, arguments).map_err(|failure| failure.with_code(OURS))
}

fn run_in(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let background = match args.detach {
        true => Background::Yes,
        false => Background::No,
    };
    let exit = runtime::exec(args.options(global)?, background)?;
    Ok(exit.map_or(0, |exit| exit.code()))
}

impl Args {
    fn options(self, global: &Global) -> Result<ExecOptions, Failure> {
        check_preserved(self.preserve_fds)?;
        let connect = |path: Option<&PathBuf>| {
            let socket = path.map(sys::socket::connect_stream);
            socket.transpose().map_err(because)
        };
        Ok(ExecOptions {
            store: Store::new(global.state_root()?),
            id: self.id.parse()?,
            cgroup: cgroup(&self.cgroup)?,
            stdio: Stdio::Inherit,
            console_socket: connect(self.console_socket.as_ref())?,
            pidfd_socket: connect(self.pidfd_socket.as_ref())?,
            pid_file: self.pid_file.clone(),
            preserve_fds: self.preserve_fds,
            ignore_paused: self.ignore_paused,
            asked: self.asked()?,
        })
    }

    fn asked(self) -> Result<Asked, Failure> {
        let process = self.process.as_deref().map(runtime::process).transpose()?;
        if process.is_some() && !self.command.is_empty() {
            return Err(Failure::new(format!(
                "{:?}: the program stands in the file of --process already",
                self.command.join(" ")
            )));
        }
        Ok(Asked {
            process,
            args: self.command,
            terminal: self.tty,
            user: self.user,
            groups: self.additional_gids,
            cwd: self.cwd,
            env: self.env,
            capabilities: runtime::capabilities("--cap", &self.cap),
            no_new_privileges: self.no_new_privs,
            selinux_label: self.process_label,
            apparmor_profile: self.apparmor,
        })
    }
}

/// Numbers: names would be those of the host, or a file of the container's would have to be believed.
fn user(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("{text:?} is not the number of a user or group"))
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

/// cgroup v2 is one tree: a path in the hierarchy of one controller does not exist in it.
fn cgroup(paths: &[String]) -> Result<Option<String>, Failure> {
    let refuse = |path: &str, reason: &str| Err(Failure::new(format!("--cgroup {path}: {reason}")));
    match paths {
        [] => Ok(None),
        [path] => match path.split_once(':') {
            None => Ok(Some(path.clone())),
            Some(_) => refuse(path, "a controller has no tree of its own in cgroup v2"),
        },
        [_, second, ..] => refuse(second, "a process is in one cgroup only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Args {
        parse(&words.split(' ').map(OsString::from).collect::<Vec<_>>())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn flags_stand_before_and_after_the_id_and_the_programs_are_its_own() {
        let args = parsed("exec -t --user 1:2 box -e A=1 --cwd /x sh -c -t --user");
        assert_eq!((args.tty, args.user), (true, Some((1, Some(2)))));
        assert_eq!(
            (args.id.as_str(), args.env),
            ("box", vec!["A=1".to_owned()])
        );
        assert_eq!(args.cwd, Some("/x".into()));
        assert_eq!(args.command, ["sh", "-c", "-t", "--user"]);
    }

    #[test]
    fn a_flag_named_twice_holds_as_last_named_and_lists_grow() {
        let args = parsed("exec -t -t --user 1:2 --user 3 -e A=1 -e B=2 box sh");
        assert_eq!((args.tty, args.user), (true, Some((3, None))));
        assert_eq!(args.env, ["A=1", "B=2"]);
    }

    #[test]
    fn a_user_is_a_number() {
        assert_eq!(user("7"), Ok((7, None)));
        assert!(user("root").is_err() && user("1:").is_err() && user("-1").is_err());
    }

    #[test]
    fn a_controllers_tree_is_refused() {
        let failure = cgroup(&["cpu:a".to_owned()]).unwrap_err();
        assert!(failure.to_string().contains("cpu:a"));
        assert_eq!(cgroup(&["a".to_owned()]).unwrap().as_deref(), Some("a"));
    }
}
