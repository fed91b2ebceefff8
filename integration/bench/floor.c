/*
 * floor ROOTFS CGROUP PROGRAM [ARG...]
 *
 * The least that a container start can cost: what the kernel must do for the bundle that `runc spec` writes, by the
 * newest system calls, and nothing else. No config is read, no state saved, no filter compiled, no error explained.
 * Runs PROGRAM in new pid, mount, uts, ipc, network and cgroup namespaces, born inside a new cgroup below CGROUP, with
 * that spec's mounts, /dev, masked and read-only paths, capabilities and limits; waits; removes the cgroup.
 * A runtime is measured as a ratio to this, in one interleaved run (integration/bench/run).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Ends with the name of the call that failed. */
static int check(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		_exit(125);
	}
	return result;
}

/* One mount of the default spec. */
struct volume {
	const char *type, *target;
	const char *options[8];         /* key, value, ... */
	unsigned attributes;            /* MOUNT_ATTR_* */
	int make;                       /* the directory is to be made (it lies in our own tmpfs) */
};

static const struct volume volumes[] = {
	{ "proc", "proc", { 0 }, 0, 0 },
	{ "tmpfs", "dev", { "mode", "755", "size", "65536k" }, MOUNT_ATTR_NOSUID, 0 },
	{ "devpts", "dev/pts", { "newinstance", 0, "ptmxmode", "0666", "mode", "0620", "gid", "5" },
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 1 },
	{ "tmpfs", "dev/shm", { "mode", "1777", "size", "65536k" },
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, 1 },
	{ "mqueue", "dev/mqueue", { 0 }, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, 1 },
	{ "sysfs", "sys", { 0 }, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, 0 },
	{ "cgroup2", "sys/fs/cgroup", { 0 },
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, 0 },
};

static const struct { const char *name; unsigned minor; } nodes[] = {
	{ "dev/null", 3 }, { "dev/zero", 5 }, { "dev/full", 7 }, { "dev/random", 8 }, { "dev/urandom", 9 },
};

static const struct { const char *name, *target; } links[] = {
	{ "dev/fd", "/proc/self/fd" }, { "dev/stdin", "/proc/self/fd/0" }, { "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" }, { "dev/core", "/proc/kcore" }, { "dev/ptmx", "pts/ptmx" },
};

static const char *masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
};

static const char *readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

/* A mount of the type, attached nowhere yet. */
static int detached(const struct volume *volume)
{
	int context = check(fsopen(volume->type, FSOPEN_CLOEXEC), volume->type);

	for (size_t i = 0; i + 1 < COUNT(volume->options) && volume->options[i]; i += 2) {
		const char *key = volume->options[i], *value = volume->options[i + 1];

		check(fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0), key);
	}
	check(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), volume->type);
	int mount = check(fsmount(context, FSMOUNT_CLOEXEC, volume->attributes), volume->type);

	close(context);
	return mount;
}

static void mount_volumes(void)
{
	for (size_t i = 0; i < COUNT(volumes); i++) {
		int mount = detached(&volumes[i]);

		if (volumes[i].make)
			check(mkdir(volumes[i].target, 0755), volumes[i].target);
		check(move_mount(mount, "", AT_FDCWD, volumes[i].target, MOVE_MOUNT_F_EMPTY_PATH), volumes[i].target);
		close(mount);
	}
}

static void make_devices(void)
{
	umask(0);
	for (size_t i = 0; i < COUNT(nodes); i++)
		check(mknod(nodes[i].name, S_IFCHR | 0666, makedev(1, nodes[i].minor)), nodes[i].name);
	check(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)), "dev/tty");
	for (size_t i = 0; i < COUNT(links); i++)
		check(symlink(links[i].target, links[i].name), links[i].name);
}

/* Covers files with /dev/null and folders with one empty read-only tmpfs. */
static void mask_paths(void)
{
	static const struct volume empty = { "tmpfs", "", { "mode", "755" }, MOUNT_ATTR_RDONLY, 0 };
	int folder = detached(&empty);

	for (size_t i = 0; i < COUNT(masked); i++) {
		int target = open(masked[i], O_PATH | O_CLOEXEC), cover;
		struct stat status;

		if (target < 0)
			continue;
		check(fstat(target, &status), masked[i]);
		if (S_ISDIR(status.st_mode))
			cover = open_tree(folder, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		else
			cover = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		check(move_mount(check(cover, masked[i]), "", target, "",
				 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), masked[i]);
		close(cover);
		close(target);
	}
	close(folder);
}

static void protect_paths(void)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };

	for (size_t i = 0; i < COUNT(readonly); i++) {
		int copy = open_tree(AT_FDCWD, readonly[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

		if (copy < 0)
			continue;
		check(mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)), readonly[i]);
		check(move_mount(copy, "", AT_FDCWD, readonly[i], MOVE_MOUNT_F_EMPTY_PATH), readonly[i]);
		close(copy);
	}
	check(mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof(attributes)), "/");
}

/* Makes ROOTFS the root, as a private copy of its mount, and leaves the old one. */
static void enter_root(const char *rootfs)
{
	struct mount_attr slave = { .propagation = MS_SLAVE };

	check(mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &slave, sizeof(slave)), "propagation");
	int root = check(open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE), rootfs);

	check(move_mount(root, "", AT_FDCWD, rootfs, MOVE_MOUNT_F_EMPTY_PATH), rootfs);
	check(fchdir(root), rootfs);
	mount_volumes();
	make_devices();
	check((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	check(umount2(".", MNT_DETACH), "leave the old root");
	check(chdir("/"), "/");
}

static void loopback_up(void)
{
	int socket_fd = check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	check(ioctl(socket_fd, SIOCSIFFLAGS, &request), "lo");
	close(socket_fd);
}

/* CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE: the default spec's three. */
static void drop_privileges(void)
{
	const uint64_t kept = 1ULL << CAP_AUDIT_WRITE | 1ULL << CAP_KILL | 1ULL << CAP_NET_BIND_SERVICE;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { kept, kept, 0 }, { 0, 0, 0 } };
	struct rlimit files = { 1024, 1024 };

	check(setrlimit(RLIMIT_NOFILE, &files), "rlimit");
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		if (!(kept >> capability & 1))
			check(prctl(PR_CAPBSET_DROP, capability), "bounding set");
	check((int)syscall(SYS_capset, &header, data), "capset");
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

static void start(const char *rootfs, char **argv)
{
	static char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", 0 };

	enter_root(rootfs);
	loopback_up();
	check(sethostname("runc", 4), "host name");
	mask_paths();
	protect_paths();
	umask(022);
	check(setsid(), "setsid");
	drop_privileges();
	check(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC), "close_range");
	execve(argv[0], argv, environment);
	check(-1, argv[0]);
}

int main(int argc, char **argv)
{
	char name[4096];
	int status, pidfd = -1;

	if (argc < 4) {
		fprintf(stderr, "usage: floor ROOTFS CGROUP PROGRAM [ARG...]\n");
		return 2;
	}
	snprintf(name, sizeof(name), "%s/floor-%d", argv[2], getpid());
	check(mkdir(name, 0755), name);
	int cgroup = check(open(name, O_PATH | O_DIRECTORY | O_CLOEXEC), name);
	struct clone_args request = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP |
			 CLONE_PIDFD | CLONE_INTO_CGROUP,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup,
	};
	pid_t child = check((int)syscall(SYS_clone3, &request, sizeof(request)), "clone3");

	if (child == 0)
		start(argv[1], argv + 3);
	check(waitpid(child, &status, 0), "wait");
	check(rmdir(name), name);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
