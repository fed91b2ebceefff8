//! The features of kernel and host that the build for tests can do without by name, and for each the claims that hold all
//! the same. Not its job: trying that (guards).

use super::breakable::{Breakable, named};

/// What an older kernel or a bare host lacks. Without it, each of these claims holds all the same.
pub(super) const FEATURES: &[Breakable] = &[
    named(
        "no-bpf-replace",
        &["update::rules_for_devices_take_the_place_of_the_old_ones"],
    ),
    named(
        "no-mount-api",
        &[
            "rootfs::the_default_specs_mounts_are_there",
            "rootfs::a_mount_over_a_link_stays_inside",
            "mounts::words::words_of_the_whole_tree_reach_what_is_mounted_below",
            "mounts::words::a_read_only_dev_has_its_devices",
            "c05_ghsa_3q8j_what_is_protected_is_so_after_the_start",
            "c06_the_whole_tree_is_read_only_where_asked",
            "c07_no_mount_travels_to_a_shared_host",
            "c08_without_pivot_root_nobody_climbs_out",
        ],
    ),
    named("no-setns-pidfd", &["it_runs_in_the_containers_namespaces"]),
    named(
        "no-packet-rules",
        &["a_kernel_without_packet_rules_is_told_with_what_does_without"],
    ),
    named(
        "no-pasta",
        &["a_user_without_pasta_and_slirp4netns_is_told_of_it"],
    ),
    named(
        "no-slirp4netns",
        &["a_user_without_pasta_and_slirp4netns_is_told_of_it"],
    ),
    named(
        "no-pids-controller",
        &["that_nobody_counts_processes_is_told_once"],
    ),
    named(
        "no-apparmor-folder",
        &["treatment::an_apparmor_profile_confines_the_program"],
    ),
    named(
        "no-mm-map",
        &["a01_cve_2019_5736_the_runtimes_binary_takes_no_write"],
    ),
    named("no-openat2", &["lifecycle::start_runs_the_program"]),
    named(
        "no-close-range",
        &["process::no_file_of_the_runtime_is_left_open"],
    ),
    named(
        "no-clone3",
        &["lifecycle::run_prints_what_the_program_prints"],
    ),
    named(
        "no-cgroup-kill",
        &["lifecycle::delete_force_ends_every_process_inside"],
    ),
    named(
        "no-erofs",
        &["store::forms::layers_asked_for_as_images_are_there_in_either_form"],
    ),
    named(
        "no-overlay-fds",
        &["seccomp::ordinary_programs_notice_nothing"],
    ),
    named(
        "no-overlay-names",
        &["seccomp::ordinary_programs_notice_nothing"],
    ),
];
