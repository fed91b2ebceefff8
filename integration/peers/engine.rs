//! What all engines need: an image that dhow built, commands as one writes them in a shell, a terminal.
//! Not its job: the flags of each engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::sandbox::dhow;
use crate::support::{Sandbox, run};

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
pub(super) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The same command on a terminal: `script` makes one.
pub(super) fn on_terminal(command: &Command) -> Command {
    let mut script = Command::new("script");
    script.args(["-qefc", &shown(command), "/dev/null"]);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(name, value);
        }
    }
    script
}

/// The first block of a document that is marked with `language`.
pub(super) fn block(document: &'static str, language: &str) -> &'static str {
    let (_, rest) = document
        .split_once(&format!("```{language}\n"))
        .expect("the document has such a block");
    rest.split("\n```").next().unwrap_or_default()
}
