//! The terminal of a container in the foreground: what is typed goes in, what it says comes out, the
//! window's size follows. Not its job: the container's own end of the terminal (rootfs).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use oci_spec::runtime::{BoxBuilder, Process};
use sys::process::{self, Exit};
use sys::tty::Termios;

use crate::life::run::forward;
use crate::{Error, Result};

/// Our end of the socket on which the terminal's master comes.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// If `process` wants a terminal and the caller gave no socket for it, we are the one who holds it. Unless it
    /// names a size it gets that of our window: its program may ask before we have its terminal.
    pub(crate) fn wanted(
        process: Option<&mut Process>,
        console_socket: &mut Option<OwnedFd>,
    ) -> Result<Option<Self>> {
        let process = process.filter(|p| p.terminal().unwrap_or(false));
        let (Some(process), None) = (process, &console_socket) else {
            return Ok(None);
        };
        if process.console_size().is_none()
            && let Ok(window) = sys::tty::size(std::io::stdin())
        {
            let size = BoxBuilder::default()
                .height(window.ws_row)
                .width(window.ws_col);
            process.set_console_size(size.build().ok());
        }
        let (ours, theirs) = sys::socket::pair().map_err(Error::host("make the console socket"))?;
        *console_socket = Some(theirs);
        Ok(Some(Self(ours)))
    }
}

/// How long to wait before a terminal that could not be written to, or that nobody had open, is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A terminal in use. Our own gets its mode back when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    mode: Option<Termios>,
    input_open: bool,
    /// Typed, and not yet taken by the container. Nothing more is read until it is: a program that prints
    /// and never reads must not stall us.
    pending: Vec<u8>,
    /// Nobody had the other end open when it was read last.
    idle: bool,
}

impl Relay {
    pub(crate) fn new(terminal: Terminal) -> Result<Self> {
        let doing = "take the container's terminal";
        let mut buffer = [0_u8; 256];
        let received =
            sys::socket::receive(&terminal.0, &mut buffer).map_err(Error::host(doing))?;
        let master = received
            .fd
            .ok_or_else(|| Error::Words("no terminal came from the first process".to_owned()))?;
        sys::tty::never_block(&master).map_err(Error::host(doing))?;
        let stdin = std::io::stdin();
        let mode = match sys::tty::isatty(&stdin) {
            true => Some(sys::tty::make_raw(&stdin).map_err(Error::host(doing))?),
            false => None,
        };
        let relay = Self {
            master,
            mode,
            input_open: true,
            pending: Vec::new(),
            idle: false,
        };
        relay.resize();
        Ok(relay)
    }

    /// Our window may be no terminal at all; then the container's keeps its size.
    fn resize(&self) {
        if let Ok(size) = sys::tty::size(std::io::stdin()) {
            let _no_window = sys::tty::set_size(&self.master, size.ws_col, size.ws_row);
        }
    }

    pub(crate) fn run(mut self, process: &process::Process, signals: &OwnedFd) -> Result<Exit> {
        loop {
            let ready = self.wait(process, signals)?;
            self.copy_out()?;
            if ready.ended {
                // What it said last may still be in the terminal.
                while self.copy_out()? {}
                return sys::process::wait(&process.pidfd)
                    .map_err(Error::host("wait for the container"));
            }
            if ready.signalled {
                // Any signal may have been SIGWINCH; asking for the size costs one call.
                self.resize();
                forward(process, signals)?;
            }
            if ready.typed {
                self.take_in();
            }
            self.pass_on()?;
        }
    }

    /// Waits for whatever comes first.
    fn wait(&self, process: &process::Process, signals: &OwnedFd) -> Result<Ready> {
        let stdin = std::io::stdin();
        let mut fds = vec![process.pidfd.as_fd(), signals.as_fd()];
        if !self.idle {
            fds.push(self.master.as_fd());
        }
        let reads = self.input_open && self.pending.is_empty();
        if reads {
            fds.push(stdin.as_fd());
        }
        let again = self.idle || !self.pending.is_empty();
        let deadline = again.then(|| Instant::now() + PAUSE);
        let ready =
            sys::poll::readable(&fds, deadline).map_err(Error::host("wait for the container"))?;
        Ok(Ready {
            ended: ready[0],
            signalled: ready[1],
            typed: reads && ready.last() == Some(&true),
        })
    }

    /// One read of the terminal to stdout; `false` when there is no more for now.
    fn copy_out(&mut self) -> Result<bool> {
        let mut buffer = [0_u8; 16 << 10];
        let read = sys::at::read(&self.master, &mut buffer);
        self.idle = read == Err(sys::Errno::IO);
        let Ok(n @ 1..) = read else {
            return Ok(false);
        };
        sys::file::write_all(std::io::stdout(), &buffer[..n])
            .map_err(Error::host("write the container's output"))?;
        Ok(true)
    }

    /// Reads what was typed. The end of a file becomes Ctrl-D, so that a shell that reads it ends with it.
    fn take_in(&mut self) {
        let mut buffer = [0_u8; 4096];
        match sys::at::read(std::io::stdin(), &mut buffer) {
            Ok(n @ 1..) => self.pending.extend(&buffer[..n]),
            Err(sys::Errno::INTR | sys::Errno::AGAIN) => {}
            _ => {
                self.input_open = false;
                self.pending.push(4);
            }
        }
    }

    /// Gives the container as much as it takes.
    fn pass_on(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            match sys::at::write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(sys::Errno::AGAIN) => return Ok(()),
                Err(sys::Errno::INTR) => {}
                // Nobody has the other end open: what is typed to nobody is lost, as on a line.
                Err(sys::Errno::IO) => self.pending.clear(),
                Err(errno) => {
                    let error = sys::SysError::new("write", "", errno);
                    return Err(Error::host("write to the container's terminal")(error));
                }
            }
        }
        Ok(())
    }
}

/// What a wait ended with.
struct Ready {
    ended: bool,
    signalled: bool,
    typed: bool,
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mode) = &self.mode {
            let _terminal_is_gone = sys::tty::restore(std::io::stdin(), mode);
        }
    }
}
