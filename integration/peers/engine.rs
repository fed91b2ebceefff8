//! What all engines need: a folder and an image that dhow built, a daemon if they have one, commands as one writes
//! them in a shell. Not its job: the flags of each engine, where they run (view).

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::view::Place;
use crate::support::command::wait_for;
use crate::support::needs::program;
use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, run};

/// The image's name.
pub(super) const IMAGE: &str = "localhost/box:1";

/// busybox and two users; the word `box` in commands of the tests stands for it.
const RECIPE: &str = r#"FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /tmp /proc /sys /dev /root /etc /srv && chmod 1777 /tmp && \
    printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n' > /etc/passwd && \
    printf 'root:x:0:\nweb:x:102:\nlog:x:7:web\n' > /etc/group
ENV PATH=/bin GREETING=hello
CMD ["sh"]
"#;

/// Where an engine lives: a place, a sandbox, and in it a folder for all that it keeps.
pub(super) struct Home {
    pub(super) place: Place,
    pub(super) sandbox: Sandbox,
    pub(super) folder: PathBuf,
}

impl Home {
    /// One for the engine `name`, without anything in it.
    pub(super) fn new(place: Place, name: &str) -> Self {
        let sandbox = Sandbox::new();
        let folder = sandbox.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self {
            place,
            sandbox,
            folder,
        }
    }

    /// A file of its configuration.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// An engine's daemon with a log of its own; a test that fails shows its end.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `name` at `home`; `arguments` adds its flags.
    pub(super) fn start(home: &Home, name: &str, arguments: impl FnOnce(&mut Command)) -> Self {
        let log = home.folder.join("log");
        let mut options = std::fs::File::options();
        let file = options.create(true).append(true).open(&log).unwrap();
        let mut command = home.place.command(&program(name).unwrap());
        arguments(&mut command);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Self { child, log }
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(10).collect();
            eprintln!(
                "the daemon's last lines, newest first:\n{}",
                last.join("\n")
            );
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// An engine as one meets it: by its command line.
pub(super) trait Engine {
    /// A command, written as in a shell.
    fn command(&self, line: &str) -> Command;

    /// Runs it.
    #[track_caller]
    fn run(&self, line: &str) -> Output {
        run(&mut self.command(line))
    }

    /// Runs a command that succeeds; what it printed, without the last line's end.
    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.run(line).success().stdout.trim_end().to_owned()
    }

    /// Runs it on a terminal.
    #[track_caller]
    fn terminal(&self, line: &str) -> Output {
        run(&mut on_terminal(&self.command(line)))
    }

    /// Runs it with `in` and a line's end as its input.
    #[track_caller]
    fn piped(&self, line: &str) -> Output {
        let command = self.command(line);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("echo in | {}", shown(&command))]);
        run(with_variables(&mut shell, &command))
    }

    /// A field of `inspect`.
    #[track_caller]
    fn inspect(&self, name: &str, field: &str) -> String {
        self.ok(&format!("inspect -f {{{{{field}}}}} {name}"))
    }

    /// Waits until its daemon answers.
    fn await_answer(&self) {
        wait_for("the daemon", Duration::from_secs(30), || {
            (self.run("version").status == 0).then_some(())
        });
    }
}

/// Builds the image with dhow and saves it as a docker archive, which all engines load.
pub(super) fn archive(sandbox: &Sandbox) -> PathBuf {
    let context = sandbox.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    std::fs::write(context.join("Dockerfile"), RECIPE).unwrap();
    let archive = sandbox.path().join("box.tar");
    let dhow = |arguments: &[&Path]| {
        let mut command = Command::new(dhow());
        command.arg("--root").arg(sandbox.path().join("builds"));
        command.arg("--store").arg(sandbox.path().join("store"));
        run(command.args(arguments)).success();
    };
    let image = Path::new(IMAGE);
    dhow(&[Path::new("build"), Path::new("-qt"), image, &context]);
    dhow(&[Path::new("save"), Path::new("-o"), &archive, image]);
    archive
}

/// Splits a command as a shell does, with single quotes alone; the word `box` becomes the image's name.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    assert!(!quoted, "a quote is open in {command}");
    words.extend(word);
    for word in &mut words {
        if word == "box" {
            IMAGE.clone_into(word);
        }
    }
    words
}

/// The command line for a shell: each word in single quotes.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The same command on a terminal: `script` makes one.
fn on_terminal(command: &Command) -> Command {
    let mut script = Command::new("script");
    script.args(["-qefc", &shown(command), "/dev/null"]);
    with_variables(&mut script, command);
    script
}

/// Gives `outer` the environment of `inner`.
fn with_variables<'a>(outer: &'a mut Command, inner: &Command) -> &'a mut Command {
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    outer
}

/// The first block of a document that is marked with `language`.
pub(super) fn block(document: &'static str, language: &str) -> &'static str {
    let (_, rest) = document
        .split_once(&format!("```{language}\n"))
        .expect("the document has such a block");
    rest.split("\n```").next().unwrap_or_default()
}
