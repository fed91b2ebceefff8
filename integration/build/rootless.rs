//! Builds of somebody without root: with subordinate ids and with none, and their commands' network. The account is
//! user 1000, whose ids, and whose right to /dev/net/tun, are given in a mount namespace of the claim's own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Site;
use super::network::{HOST, OUTSIDE, Server, World};
use super::site::BASE;
use crate::support::sandbox::dhow;
use crate::support::{Output, claims, needs, run};

claims![
    a_user_without_subordinate_ids_builds: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    owners_are_kept_where_there_is_one_id: [Root, Cgroup2, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Tool("tar"), Dhow],
    each_recipe_of_the_project_builds_for_a_user: [Root, Cgroup2, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    a_user_with_subordinate_ids_builds_what_root_builds: [Root, Cgroup2, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    a_users_cache_has_the_steps_of_the_users_builds: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    f13_a_users_command_reaches_nothing_of_the_host: [Root, Cgroup2, Overlay, UserNamespaces, Translation, Tool("ip"), Tool("setpriv"), Tool("newuidmap"), Tool("slirp4netns"), Dhow],
    f13_a_users_command_reaches_nothing_by_pasta: [Root, Cgroup2, Overlay, UserNamespaces, Translation, Tool("ip"), Tool("setpriv"), Tool("newuidmap"), Tool("pasta"), FaultBuild],
    a_user_without_pasta_and_slirp4netns_is_told_of_it: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), FaultBuild],
];

/// Subordinate ids as /etc/subuid has them.
const IDS: &str = "1000:300000:65536\n";

/// An account, with a folder of its own in a site's.
pub(super) struct User<'a> {
    site: &'a Site,
}

impl<'a> User<'a> {
    pub(super) fn new(site: &'a Site, ids: &str) -> Self {
        let user = Self { site };
        let folder = site.folder();
        let open = |path: PathBuf, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(folder.to_owned(), 0o755);
        // Ours may lie where others don't get.
        std::fs::copy(dhow(), folder.join("dhow")).unwrap();
        open(folder.join("dhow"), 0o755);
        std::fs::write(folder.join("ids"), ids).unwrap();
        open(folder.join("ids"), 0o644);
        let tun = folder.join("tun");
        run(Command::new("mknod").arg(&tun).args(["c", "10", "200"])).success();
        open(tun, 0o666);
        std::fs::create_dir_all(user.own().join("base")).unwrap();
        let busybox = needs::program("busybox").expect("busybox-static is set up");
        std::fs::copy(busybox, user.own().join("base/busybox")).unwrap();
        std::fs::write(user.own().join("base/Dockerfile"), BASE).unwrap();
        chown(user.own(), Some(1000), Some(1000)).unwrap();
        user
    }

    pub(super) fn own(&self) -> PathBuf {
        self.site.folder().join("own")
    }

    pub(super) fn recipe(&self, name: &str, text: &str) {
        let folder = self.own().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), text).unwrap();
        std::fs::write(folder.join("f"), "content").unwrap();
    }

    pub(super) fn dhow(&self, fault: &str, arguments: &[&str]) -> Output {
        let script = "for f in subuid subgid; do mount --bind ids /etc/$f; done; \
                      test ! -e /dev/net/tun || mount --bind tun /dev/net/tun; cd own; \
                      exec setpriv --reuid=1000 --regid=1000 --clear-groups ../dhow \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-e", "-c", script, "sh"])
            .args(arguments)
            .current_dir(self.site.folder())
            .env("HOME", self.own())
            .env("XDG_RUNTIME_DIR", self.own())
            .env("XDG_DATA_HOME", self.own())
            .env_remove("SOURCE_DATE_EPOCH");
        if !fault.is_empty() {
            // Beside what the claim itself is to do without.
            let given = std::env::var("DHOW_FAULT").unwrap_or_default();
            command.env("DHOW_FAULT", format!("{fault},{given}"));
        }
        run(&mut command)
    }

    pub(super) fn build(&self, name: &str) -> Output {
        self.dhow("", &["build", "-q", "--network=none", "-t", name, name])
    }
}

fn a_user_without_subordinate_ids_builds() {
    let site = Site::bare();
    let user = User::new(&site, "");
    user.build("base").success();
    user.recipe(
        "c",
        "FROM base AS one\nRUN echo made > /file && ln -s file /link && chmod 640 /file\n\
         FROM base\nCOPY --from=one /file /link /\nCOPY f /f\nWORKDIR /work\n\
         RUN rm /f && test \"$(cat /link)\" = made && test \"$(id -u)\" = 0\n\
         RUN test ! -e /f && test \"$(wc -l < /proc/self/uid_map)\" = 1 && test \"$(pwd)\" = /work\n",
    );
    user.build("c").success();
    let listed = user.dhow("", &["images"]).success();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
    user.dhow("", &["store", "check"]).success();
    user.dhow("", &["prune", "--all"]).success();
    let left = std::fs::read_dir(user.own().join("dhow/layers")).unwrap();
    assert_eq!(left.count(), 0);
}

/// Whose files are comes from COPY, from an archive, from a base and from a stage, and stays through what commands do.
const OWNED: &str = "FROM base AS one\n\
    COPY --chown=33:44 d f /d/\n\
    ADD a.tar /a/\n\
    RUN chmod 600 /d/f /a/d/f && mv /d/f /moved && touch /new && mkdir /d/new && rm /d/link && ln -s f /d/link\n\
    COPY --link --chown=1000:5 d /linked/\n\
    FROM one\n\
    COPY --from=one /moved /d /a /from/\n\
    COPY d /a/d/\n\
    RUN chmod 711 /d /from/d/sub\n\
    USER user\n\
    WORKDIR /work/here\n";

/// The same bytes as root's build, so the same owners.
fn owners_are_kept_where_there_is_one_id() {
    let site = Site::new();
    let user = User::new(&site, "");
    user.recipe("owned", OWNED);
    let folder = user.own().join("owned");
    let script = "mkdir -p d/sub && echo x > d/sub/x && ln -s x d/link && mkdir t && cp -a d t/d && echo f > t/d/f && \
                  chown -hR 7:8 t && tar -C t --numeric-owner -cf a.tar d && rm -r t && chown -R 1000:1000 .";
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(&folder))
    .success();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&folder)
        .arg(site.folder())
        .status();
    assert!(copied.unwrap().success());
    user.build("base").success();
    let theirs = user.build("owned").success().stdout;
    assert_eq!(theirs, site.image("owned", OWNED));
    user.dhow("", &["store", "check"]).success();
    // All files as one tar, and a context that is one.
    let tar = |image: &str| {
        user.dhow(
            "",
            &[
                "build",
                "-q",
                "-o",
                &format!("type=tar,dest={image}.tar"),
                "owned",
            ],
        )
    };
    tar("first").success();
    let listed = run(Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(user.own().join("first.tar")));
    let listed = listed.success().stdout;
    for (owner, name) in [
        ("33/44", " moved\n"),
        ("7/8", " from/d/link -> x\n"),
        ("1000/5", " linked/link -> x\n"),
        ("0/0", " from/link -> f\n"),
    ] {
        let line = listed
            .split_inclusive('\n')
            .find(|line| line.ends_with(name));
        assert!(
            line.is_some_and(|line| line.contains(&format!(" {owner} "))),
            "{name}: {listed}"
        );
    }
}

/// The recipes that the README walks through, on busybox in the place of Debian: as root's, with and without further
/// ids.
fn each_recipe_of_the_project_builds_for_a_user() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/recipes");
    let names = std::fs::read_dir(recipes).unwrap();
    let folders: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 4);
    // busybox' gzip has no flag -n; a gzip of a file that has no time to keep does the same.
    let copy = |folder: &Path, to: PathBuf| {
        run(Command::new("cp").arg("-r").arg(folder).arg(&to)).success();
        let recipe = std::fs::read_to_string(to.join("Dockerfile")).unwrap();
        std::fs::write(
            to.join("Dockerfile"),
            recipe.replace("gzip -n -k", "gzip -k"),
        )
        .unwrap();
    };
    for ids in ["", IDS] {
        let site = Site::new();
        run(site.dhow().args(["tag", "base", "debian:demo"])).success();
        let user = User::new(&site, ids);
        user.build("base").success();
        user.dhow("", &["tag", "base", "debian:demo"]).success();
        for folder in &folders {
            let name = folder.file_name().unwrap().to_str().unwrap();
            copy(folder, site.folder().join(name));
            copy(folder, user.own().join(name));
            let theirs = user.build(name).success().stdout;
            let ours = site.build(&["-q", name]).success().stdout;
            assert_eq!(theirs, ours, "{name} {ids:?}");
        }
    }
}

fn a_user_with_subordinate_ids_builds_what_root_builds() {
    let site = Site::new();
    let user = User::new(&site, IDS);
    let recipe = "FROM base\nCOPY --chown=7:8 f /f\nRUN chown 33:44 /tmp && rm /root/.profile; touch /x && chown 65000:65000 /x\n\
                  USER user\nRUN test \"$(id -u):$(id -g)\" = 1000:1001 && test \"$(stat -c %u:%g /f /tmp /x | tr '\\n' ' ')\" = '7:8 33:44 65000:65000 '\n";
    user.recipe("owned", recipe);
    site.context("owned", recipe);
    std::fs::write(site.folder().join("owned/f"), "content").unwrap();
    user.build("base").success();
    let theirs = user.build("owned").success().stdout;
    assert_eq!(theirs, site.image("owned", recipe));
    // What belongs to others in the store is theirs to remove.
    user.dhow("", &["prune", "--all"]).success();
    let left = std::fs::read_dir(user.own().join("dhow/layers")).unwrap();
    assert_eq!(left.count(), 0);
}

fn a_users_cache_has_the_steps_of_the_users_builds() {
    for ids in ["", IDS] {
        let site = Site::bare();
        let user = User::new(&site, ids);
        user.recipe(
            "c",
            "FROM scratch\nCOPY --chown=7:8 --chmod=600 f /f\nCOPY f /g\n",
        );
        user.build("c").success();
        let there = ["--store", "there"];
        let cache = |place: &[&str], words: &[&str]| {
            user.dhow("", &[place, &["cache"], words].concat())
                .success()
                .stdout
        };
        cache(&[], &["export", "cache.tar"]);
        let new = cache(&there, &["import", "cache.tar"]);
        assert_eq!(new, "Steps that are new: 2\n", "{ids:?}");
        let build = [&there[..], &["build", "--network=none", "c"]].concat();
        let built = user.dhow("", &build).success();
        assert_eq!(super::cached(&built), 2, "{ids:?}: {built:?}");
        cache(&there, &["prune"]);
        user.dhow("", &["--store", "there", "prune", "--all"])
            .success();
        let left = std::fs::read_dir(user.own().join("there/layers")).unwrap();
        assert_eq!(left.count(), 0, "{ids:?}");
    }
}

/// By slirp4netns, which is chosen where it is there.
fn f13_a_users_command_reaches_nothing_of_the_host() {
    outbound("");
}

fn f13_a_users_command_reaches_nothing_by_pasta() {
    outbound("no-slirp4netns");
}

/// A command's way out, perhaps without one of the programs that can make it. What it says never ends: Debian's pasta
/// may lose the other side's last words to who has said that it has no more.
fn outbound(without: &str) {
    let world = World::new();
    let user = User::new(&world.site, IDS);
    user.build("base").success();
    let (port, outside) = (":8000", Server::start(&world.outside, OUTSIDE));
    let host = Server::start(&world.host, &format!("0.0.0.0{port}"));
    let script = format!(
        "mkfifo /open; nc 198.51.100.2 8000 <>/open; \
         for a in {HOST} 10.0.2.2 127.0.0.1; do nc -w 20 $a 8000 && echo REA''CHED; done; true"
    );
    user.recipe("out", &format!("FROM base\nRUN {script}\n"));
    let output = world
        .host
        .within(|| user.dhow(without, &["build", "--network=default", "out"]));
    outside.end(&world.outside);
    host.end(&world.host);
    let output = output.success();
    // By the host's address, since it is a program of the host's that speaks; and once.
    let told = ["you are ", "you are 198.51.100.1\n", "REACHED"];
    let told = told.map(|words| output.stderr.matches(words).count());
    assert_eq!(told, [1, 1, 0], "{output:?}");
}

fn a_user_without_pasta_and_slirp4netns_is_told_of_it() {
    let site = Site::bare();
    let user = User::new(&site, IDS);
    let arguments = ["build", "--network=default", "base"];
    let output = user
        .dhow("no-pasta,no-slirp4netns", &arguments)
        .ends_with(1);
    let told = "give the command a network (it needs none with --network=none or --network=host): \
                find slirp4netns or pasta, which make a network without root: none is in the folders for programs\n";
    assert!(output.stderr.ends_with(told), "{output:?}");
}
