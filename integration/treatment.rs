//! How the kernel is told to treat a container's program: scheduling, priorities, memory, domain, keyring,
//! labels. Seen from /proc outside, or by the program itself.

use serde_json::{Value, json};

use crate::support::{Sandbox, claims, run};

claims![
    // runc 1.1 knows no process.scheduler, ioPriority, memoryPolicy or personality: config.md, "Process".
    the_scheduler_is_the_specs: [Root, Cgroup2, Dhow],
    a_user_namespace_keeps_no_one_from_its_scheduler: [Root, Cgroup2, UserNamespaces, Dhow],
    the_io_priority_is_the_specs: [Root, Cgroup2, Tool("ionice"), Dhow],
    the_execution_domain_is_the_specs: [Root, Cgroup2, Dhow],
    the_memory_policy_is_the_specs: [Root, Cgroup2, Numa, Dhow],
    the_domain_name_is_set_inside_only: [Root, Cgroup2, Dhow],
    the_oom_score_is_lowered_and_else_kept: [Root, Cgroup2, SysResource],
    the_session_keyring_is_a_new_one: [Root, Cgroup2],
    the_callers_keyring_is_kept_where_asked: [Root, Cgroup2],
    // runc starts without a label where AppArmor is disabled in the kernel's own way only.
    i06_an_apparmor_profile_without_apparmor_stops_the_start: [Root, Cgroup2, WithoutAppArmor],
    without_its_check_the_kernel_itself_refuses_the_profile: [Root, Cgroup2, WithoutAppArmor, FaultBuild],
    without_its_guards_a_label_is_left_out: [Root, Cgroup2, WithoutAppArmor, FaultBuild],
    an_exec_is_treated_as_the_containers_process: [Root, Cgroup2, Dhow],
    an_exec_begins_on_its_processors: [Root, Cgroup2, TwoCpus, Dhow],
    an_exec_with_a_label_that_cannot_be_had_is_refused: [Root, Cgroup2, WithoutAppArmor, Dhow],
    an_apparmor_profile_confines_the_program: [Root, Cgroup2, AppArmor],
    an_apparmor_profile_that_is_not_loaded_stops_the_start: [Root, Cgroup2, AppArmor, Dhow],
    i06_an_selinux_label_without_selinux_stops_the_start: [Root, Cgroup2, WithoutSeLinux, Dhow],
    a_mount_label_without_selinux_stops_the_start: [Root, Cgroup2, WithoutSeLinux, Dhow],
];

/// What `text` prints in a container whose spec is changed by `edit`.
fn said(text: &str, edit: impl FnOnce(&mut Value)) -> String {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script(text).edit(edit);
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success()
        .stdout
}

/// The fields of the program's /proc/self/stat after its name: the third of proc(5) is the first here.
fn stat(edit: impl FnOnce(&mut Value)) -> Vec<String> {
    let text = said("exec cat /proc/self/stat", edit);
    let (_, fields) = text.rsplit_once(')').unwrap();
    fields.split_whitespace().map(str::to_owned).collect()
}

/// nice, rt_priority and policy.
fn scheduling(edit: impl FnOnce(&mut Value)) -> [String; 3] {
    let fields = stat(edit);
    [19, 40, 41].map(|field: usize| fields[field - 3].clone())
}

fn the_scheduler_is_the_specs() {
    let scheduler = |value: Value| scheduling(|spec| spec["process"]["scheduler"] = value);
    let batch = scheduler(json!({"policy": "SCHED_BATCH", "nice": 5}));
    assert_eq!(batch, ["5", "0", "3"]);
    let idle = scheduler(json!({"policy": "SCHED_IDLE"}));
    assert_eq!(idle[2], "5");
    let flags = json!(["SCHED_FLAG_RESET_ON_FORK"]);
    let round = scheduler(json!({"policy": "SCHED_RR", "priority": 7, "flags": flags}));
    assert_eq!(round[1..], ["7", "2"]);
    let million = 10_000_000;
    let deadline = scheduler(json!({
        "policy": "SCHED_DEADLINE", "runtime": million, "deadline": 3 * million, "period": 3 * million,
    }));
    assert_eq!(deadline[2], "6");
}

fn a_user_namespace_keeps_no_one_from_its_scheduler() {
    let seen = scheduling(|spec| {
        with_user_namespace(spec);
        spec["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 3});
    });
    assert_eq!(seen[1..], ["3", "1"]);
}

fn with_user_namespace(spec: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
}

fn the_io_priority_is_the_specs() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(|spec| {
        spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6})
    });
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let pid = sandbox.state("c")["pid"].to_string();
    let seen = run(std::process::Command::new("ionice").args(["-p", &pid])).success();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert_eq!(seen.stdout, "best-effort: prio 6\n");
}

fn the_execution_domain_is_the_specs() {
    let machine = |domain: &str| {
        said("uname -m", |spec| {
            spec["linux"]["personality"] = json!({"domain": domain})
        })
    };
    assert_eq!(machine("LINUX32"), "i686\n");
    assert_eq!(machine("LINUX"), "x86_64\n");
}

fn the_memory_policy_is_the_specs() {
    let maps = |policy: Value| {
        said("cat /proc/self/numa_maps", |spec| {
            spec["linux"]["memoryPolicy"] = policy
        })
    };
    let bound = maps(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}));
    assert!(bound.contains(" bind=static:0 "), "{bound}");
    let local = maps(json!({"mode": "MPOL_LOCAL"}));
    assert!(local.contains(" local "), "{local}");
}

fn the_domain_name_is_set_inside_only() {
    let file = "/proc/sys/kernel/domainname";
    let before = std::fs::read_to_string(file).unwrap();
    let seen = said(&format!("cat {file}"), |spec| {
        spec["domainname"] = json!("dhow.example")
    });
    assert_eq!(seen, "dhow.example\n");
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
}

fn the_oom_score_is_lowered_and_else_kept() {
    let text = "cat /proc/self/oom_score_adj";
    let lowered = said(text, |spec| spec["process"]["oomScoreAdj"] = json!(-500));
    assert_eq!(lowered, "-500\n");
    let kept = said(text, |spec| {
        spec["process"]
            .as_object_mut()
            .unwrap()
            .remove("oomScoreAdj");
    });
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(kept, ours);
}

/// The line of /proc/keys about the keyring of container `id`, as its program sees it.
fn keyring(id: &str, flags: &[&str]) -> String {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle(id)
        .script(&format!("grep _ses.{id} /proc/keys || true"))
        .edit(|spec| spec["linux"]["maskedPaths"] = json!([]));
    let mut arguments = vec!["run"];
    arguments.extend(flags);
    arguments.extend(["--bundle", bundle.argument(), id]);
    sandbox.runtime(&arguments).success().stdout
}

fn the_session_keyring_is_a_new_one() {
    let seen = keyring("ringed", &[]);
    assert!(seen.contains("_ses.ringed: empty"), "{seen}");
}

fn the_callers_keyring_is_kept_where_asked() {
    assert_eq!(keyring("unringed", &["--no-new-keyring"]), "");
}

/// What `run` says of a spec changed by `edit`, with a fault if named.
fn refused(fault: Option<&str>, edit: impl FnOnce(&mut Value)) -> crate::support::Output {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(edit);
    let mut command = sandbox.command();
    command.args(["run", "--bundle", bundle.argument(), "c"]);
    if let Some(fault) = fault {
        command.env("DHOW_FAULT", fault);
    }
    let output = run(&mut command);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    output
}

fn confined(spec: &mut Value) {
    spec["process"]["apparmorProfile"] = json!("dhow-test");
}

fn i06_an_apparmor_profile_without_apparmor_stops_the_start() {
    let output = refused(None, confined).ends_with(1);
    assert!(
        output.stderr.to_lowercase().contains("apparmor"),
        "{}",
        output.stderr
    );
}

fn without_its_check_the_kernel_itself_refuses_the_profile() {
    let output = refused(Some("no-lsm-check"), confined).ends_with(1);
    let words = "apply the AppArmor profile \"dhow-test\": ";
    assert!(output.stderr.contains(words), "{}", output.stderr);
}

fn without_its_guards_a_label_is_left_out() {
    refused(Some("no-lsm-check,no-labels"), confined).success();
}

/// What a shell says that is run by `exec`, with these flags, in a container whose spec is changed by `edit`.
fn exec(flags: &[&str], text: &str, edit: impl FnOnce(&mut Value)) -> crate::support::Output {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(edit);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let mut arguments = vec!["exec"];
    arguments.extend(flags);
    arguments.extend(["c", "sh", "-c", text]);
    let output = sandbox.runtime(&arguments);
    sandbox.runtime(&["delete", "--force", "c"]).success();
    output
}

fn an_exec_is_treated_as_the_containers_process() {
    let text = "uname -m; exec cat /proc/self/stat";
    for user_namespace in [false, true] {
        let output = exec(&[], text, |spec| {
            if user_namespace {
                with_user_namespace(spec);
            }
            spec["linux"]["personality"] = json!({"domain": "LINUX32"});
            spec["process"]["scheduler"] = json!({"policy": "SCHED_RR", "priority": 4});
        });
        let seen = output.success().stdout;
        assert!(seen.starts_with("i686\n"), "{seen}");
        let (_, fields) = seen.rsplit_once(')').unwrap();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        assert_eq!(fields[40 - 3..=41 - 3], ["4", "2"]);
    }
}

fn an_exec_begins_on_its_processors() {
    let text = "grep Cpus_allowed_list /proc/self/status";
    let allowed = |affinity: Value| {
        let output = exec(&[], text, |spec| {
            spec["process"]["execCPUAffinity"] = affinity;
        });
        let seen = output.success().stdout;
        let (_, list) = seen.split_once('\t').unwrap();
        list.trim().to_owned()
    };
    assert_eq!(allowed(json!({"initial": "0", "final": "1"})), "1");
    assert_eq!(allowed(json!({"initial": "", "final": "0"})), "0");
}

fn an_exec_with_a_label_that_cannot_be_had_is_refused() {
    let output = exec(&["--apparmor", "dhow-test"], "true", |_| ());
    assert_eq!(
        output.ends_with(255).stderr,
        "dhow: process.apparmorProfile: \"dhow-test\" is asked for, but AppArmor is not enabled in this kernel\n"
    );
}

/// AppArmor with the profile `dhow-test` loaded.
struct Policy {
    folder: tempfile::TempDir,
}

impl Policy {
    fn load() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "securityfs", "securityfs"])
            .arg(folder.path())
            .status();
        assert!(mounted.unwrap().success());
        let policy = Self { folder };
        policy.write(".replace", include_bytes!("treatment/confined.policy"));
        policy
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.folder.path().join("apparmor").join(file);
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        self.write(".remove", b"dhow-test");
        let _ = std::process::Command::new("umount")
            .arg(self.folder.path())
            .status();
    }
}

fn an_apparmor_profile_confines_the_program() {
    let policy = Policy::load();
    let script = "cat /proc/self/attr/current; cat /etc/passwd >/dev/null && echo passwd; \
                  cat /etc/group 2>/dev/null || echo no group";
    let seen = said(script, confined);
    assert_eq!(seen, "dhow-test (enforce)\npasswd\nno group\n");
    // The files that the modules shared before Linux 5.8.
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("cat /proc/self/attr/current")
        .edit(confined);
    let mut command = sandbox.command();
    command.args(["run", "--bundle", bundle.argument(), "c"]);
    let old = run(command.env("DHOW_FAULT", "no-apparmor-folder"));
    assert_eq!(old.success().stdout, "dhow-test (enforce)\n");
    drop(policy);
}

fn an_apparmor_profile_that_is_not_loaded_stops_the_start() {
    let output = refused(None, confined).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: apply the AppArmor profile \"dhow-test\": write /proc/self/attr/apparmor/exec: no such profile is loaded (no such file or directory)\n"
    );
}

fn i06_an_selinux_label_without_selinux_stops_the_start() {
    let output = refused(None, |spec| {
        spec["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2")
    });
    assert_eq!(
        output.ends_with(1).stderr,
        "dhow: process.selinuxLabel: \"system_u:system_r:container_t:s0:c1,c2\" is asked for, but SELinux is not enabled in this kernel\n"
    );
}

fn a_mount_label_without_selinux_stops_the_start() {
    let output = refused(None, |spec| {
        spec["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0")
    });
    assert_eq!(
        output.ends_with(1).stderr,
        "dhow: linux.mountLabel: \"system_u:object_r:container_file_t:s0\" is asked for, but SELinux is not enabled in this kernel\n"
    );
}
