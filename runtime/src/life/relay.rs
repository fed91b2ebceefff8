//! The terminal of a container in the foreground: what is typed goes in, what it says comes out, the
//! window's size follows. Not its job: the container's own end of the terminal (rootfs).

use std::os::fd::{AsFd, OwnedFd};

use sys::process::{Exit, Process};
use sys::tty::Termios;

use crate::life::options::CreateOptions;
use crate::life::run::forward;
use crate::{Error, Result};

/// Our end of the socket on which the terminal's master comes.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// If the spec wants a terminal and the caller gave no socket for it, we are the one who holds it.
    pub(crate) fn wanted(options: &mut CreateOptions) -> Result<Option<Self>> {
        let wants = options
            .spec
            .process()
            .as_ref()
            .is_some_and(|p| p.terminal().unwrap_or(false));
        if !wants || options.console_socket.is_some() {
            return Ok(None);
        }
        let (ours, theirs) = sys::socket::pair().map_err(Error::host("make the console socket"))?;
        options.console_socket = Some(theirs);
        Ok(Some(Self(ours)))
    }
}

/// A terminal in use. Our own gets its mode back when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    mode: Option<Termios>,
    input_open: bool,
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
        let stdin = std::io::stdin();
        let mode = match sys::tty::isatty(&stdin) {
            true => Some(sys::tty::make_raw(&stdin).map_err(Error::host(doing))?),
            false => None,
        };
        let relay = Self {
            master,
            mode,
            input_open: true,
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

    pub(crate) fn run(mut self, process: &Process, signals: &OwnedFd) -> Result<Exit> {
        let waiting = || Error::host("wait for the container");
        let stdin = std::io::stdin();
        loop {
            let mut fds = vec![process.pidfd.as_fd(), signals.as_fd(), self.master.as_fd()];
            if self.input_open {
                fds.push(stdin.as_fd());
            }
            let ready = sys::poll::readable(&fds, None).map_err(waiting())?;
            if ready[2] {
                self.copy_out()?;
            }
            if ready[0] {
                // What it said last may still be in the terminal.
                while sys::poll::readable(&[self.master.as_fd()], Some(std::time::Instant::now()))
                    .map_err(waiting())?[0]
                    && self.copy_out()?
                {}
                return sys::process::wait(&process.pidfd).map_err(waiting());
            }
            if ready[1] {
                // Any signal may have been SIGWINCH; asking for the size costs one call.
                self.resize();
                forward(process, signals)?;
            }
            if ready.get(3) == Some(&true) {
                self.copy_in()?;
            }
        }
    }

    /// One read of the master to stdout; `false` when there is no more.
    fn copy_out(&self) -> Result<bool> {
        let mut buffer = [0_u8; 16 << 10];
        // EIO: nobody has the other end open any more.
        let Ok(n @ 1..) = sys::at::read(&self.master, &mut buffer) else {
            std::thread::sleep(std::time::Duration::from_millis(1));
            return Ok(false);
        };
        write_all(std::io::stdout(), &buffer[..n])
            .map_err(Error::host("write the container's output"))?;
        Ok(true)
    }

    fn copy_in(&mut self) -> Result<()> {
        let mut buffer = [0_u8; 4096];
        match sys::at::read(std::io::stdin(), &mut buffer) {
            Ok(n @ 1..) => write_all(&self.master, &buffer[..n])
                .map_err(Error::host("write to the container's terminal")),
            _ => {
                self.input_open = false;
                // Ctrl-D, so that a shell that reads a file piped to us ends with it.
                let _closed_already = write_all(&self.master, &[4]);
                Ok(())
            }
        }
    }
}

fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> sys::Result<()> {
    while !bytes.is_empty() {
        match sys::at::write(&fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(sys::Errno::INTR) => {}
            Err(errno) => return Err(sys::SysError::new("write", "", errno)),
        }
    }
    Ok(())
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mode) = &self.mode {
            let _terminal_is_gone = sys::tty::restore(std::io::stdin(), mode);
        }
    }
}
