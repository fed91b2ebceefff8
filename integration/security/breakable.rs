//! What the build for tests can leave out by name: guards, and features that an older kernel lacks; for each the claims
//! that fail without it, or hold. Not its job: trying that (guards).

/// A name that `DHOW_FAULT` knows.
pub(super) struct Breakable {
    pub(super) name: &'static str,
    /// Claims (by the end of their names) that fail without a guard; with a feature that an older kernel lacks they hold.
    pub(super) claims: &'static [&'static str],
}

const fn named(name: &'static str, claims: &'static [&'static str]) -> Breakable {
    Breakable { name, claims }
}

/// Guards. Without one, each of its claims fails.
pub(super) const GUARDS: &[Breakable] = &[
    named(
        "no-self-guard",
        &["a01_cve_2019_5736_the_runtimes_binary_takes_no_write"],
    ),
    named(
        "no-close-descriptors",
        &["a03_cve_2016_9962_a_waiting_container_holds_only_what_it_needs"],
    ),
    named("no-no-new-privs", &["process::no_new_privs_is_set"]),
    named(
        "no-capability-limit",
        &["a10_cve_2022_29162_no_capability_is_inheritable"],
    ),
    named(
        "no-bounding-limit",
        &["process::capabilities_are_exactly_the_specs"],
    ),
    named(
        "no-hook-environment",
        &["a16_cve_2025_23266_a_hook_has_its_own_environment_alone"],
    ),
    named(
        "no-new-session",
        &["a18_cve_2017_5226_the_callers_terminal_is_out_of_reach"],
    ),
    named(
        "no-session-keyring",
        &["a19_the_callers_keyring_is_out_of_sight"],
    ),
    named(
        "no-namespace-kind-check",
        &["a21_a_namespace_of_another_kind_is_refused"],
    ),
    named(
        "no-sysctl-check",
        &["a15_cve_2022_0811_only_parameters_of_its_own_namespaces"],
    ),
    named(
        "no-cwd-check",
        &["a02_cve_2024_21626_a_working_directory_swapped_at_any_call_stays_inside"],
    ),
    named(
        "no-untraceable",
        &[
            "a04_cve_2016_9962_a_waiting_container_cannot_be_traced",
            "b01_cve_2016_9962_an_exec_cannot_be_traced",
        ],
    ),
    named(
        "no-private-proc",
        &["a07_cve_2025_52881_a_false_proc_takes_no_setting"],
    ),
    named(
        "no-descriptor-check",
        &["a07_cve_2025_52881_descriptors_of_a_covered_proc_are_not_followed"],
    ),
    named(
        "no-id-check",
        &[
            "g02_an_id_is_a_name_and_no_path",
            "g05_what_stands_for_an_id_is_no_flag",
        ],
    ),
    named(
        "no-owner-check",
        &["g03_cve_2019_12439_a_strangers_folder_holds_no_state"],
    ),
    named("no-own-file", &["g04_a_pid_file_is_nobody_elses"]),
    named(
        "no-class-name-check",
        &["d10_a_class_of_the_cache_is_a_name_and_no_path"],
    ),
    named(
        "no-default-profile",
        &["a20_cve_2026_31431_faulty_parts_of_the_kernel_are_out_of_reach"],
    ),
    named(
        "no-id-range",
        &["a12_cve_2024_40635_an_id_is_that_id_or_an_error"],
    ),
    named(
        "no-default-masks",
        &["c10_cve_2018_10892_what_others_hide_is_hidden"],
    ),
    named(
        "no-attribute-list",
        &["c12_cve_2023_0386_a_layer_does_not_steer_the_overlay"],
    ),
    named(
        "no-device-filter",
        &["c11_a_device_that_is_made_cannot_be_opened"],
    ),
    named(
        "no-property-list",
        &["d04_a_property_that_reaches_further_is_refused"],
    ),
    named(
        "no-late-sight",
        &["b01_cve_2016_9962_an_exec_brings_nothing_to_one_who_may_trace"],
    ),
    named(
        "no-root-for-paths",
        &[
            "c01_cve_2021_30465_a_mount_point_that_is_a_link_stays_inside",
            "c01_cve_2021_30465_a_mount_point_swapped_at_any_call_stays_inside",
            "c02_cve_2024_45310_a_racer_makes_nothing_on_the_host",
            "a09_cve_2026_41579_devices_are_made_inside",
            "c15_destinations_lead_nowhere_else",
            "c03_cve_2024_1753_a_source_in_an_image_stays_in_the_image",
            "b04_cve_2018_15664_a_folder_swapped_at_any_call_of_a_copy_stays_inside",
        ],
    ),
    named(
        "no-escape",
        &["g09_what_is_printed_of_a_configuration_cannot_steer_a_terminal"],
    ),
    named(
        "no-cgroup-names",
        &["a_cgroup_outside_of_the_containers_is_refused"],
    ),
    // Not a guard: a host without systemd, where nothing takes its place.
    named(
        "no-systemd",
        &["systemd::a_container_lives_in_a_scope_of_its_own"],
    ),
    named(
        "no-image-check",
        &["b09_a_link_in_a_checkpoint_is_not_followed_cve_2024_8676"],
    ),
    named(
        "no-restore-check",
        &["a_checkpoint_that_is_less_confined_than_the_bundle_is_refused"],
    ),
    named(
        "no-log-link-check",
        &["g04_a_log_that_is_a_strangers_link_is_refused"],
    ),
    // Two, one behind the other: the kernel itself refuses a label that our check lets pass.
    named(
        "no-lsm-check,no-labels",
        &["treatment::i06_an_apparmor_profile_without_apparmor_stops_the_start"],
    ),
    named("hooks-anywhere", &["hooks::a_hook_begins_in_the_bundle"]),
    named(
        "no-start-time",
        &["b07_a_recycled_process_id_is_nobody_of_ours"],
    ),
    named(
        "no-null-check",
        &["a05_cve_2025_31133_a_mask_is_the_null_device_or_nothing"],
    ),
    named(
        "no-plain-console",
        &["a06_cve_2025_52565_the_console_is_a_terminal_or_nothing"],
    ),
    named(
        "no-plain-proc",
        &["a08_cve_2023_27561_proc_and_sys_are_no_links"],
    ),
    named(
        "no-masks",
        &["c05_ghsa_3q8j_what_is_protected_is_so_after_the_start"],
    ),
    named(
        "no-read-only-paths",
        &["c05_ghsa_3q8j_what_is_protected_is_so_after_the_start"],
    ),
    named(
        "no-whole-tree",
        &["c06_the_whole_tree_is_read_only_where_asked"],
    ),
    named("no-isolation", &["c07_no_mount_travels_to_a_shared_host"]),
    named(
        "no-root-move",
        &["c08_without_pivot_root_nobody_climbs_out"],
    ),
];

/// What an older kernel lacks. Without it, each of these claims holds all the same.
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
        "no-overlay-fds",
        &["seccomp::ordinary_programs_notice_nothing"],
    ),
    named(
        "no-overlay-names",
        &["seccomp::ordinary_programs_notice_nothing"],
    ),
];
