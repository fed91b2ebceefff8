/*
 * stopwatch ROUNDS FILE
 *
 * Runs the commands of FILE one after the other, ROUNDS times over, so that all of them meet the same machine, and
 * prints a line for each run that has a label: `label microseconds peak-KiB`.
 * FILE: a line `LABEL COMMAND ARG...`, words parted by single spaces. The label `-` is not timed; there, a failure
 * is no matter. Output of the commands goes to /dev/null. Static and small on purpose: a child's peak memory, as
 * the kernel counts it, starts from that of the process that forked it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 128, WORDS = 32 };

struct command {
	char *label;
	char *argv[WORDS + 1];
};

static struct command commands[LINES];
static size_t count;

static void fail(const char *what)
{
	fprintf(stderr, "stopwatch: %s: %s\n", what, strerror(errno));
	exit(2);
}

/*
 * crun 1.8 stops where it may not raise RLIMIT_MEMLOCK (root without CAP_SYS_RESOURCE), though no kernel since 5.11
 * charges BPF programs to it. There, a filter answers that one call with success. It is the same for every program
 * measured, and costs nothing: the kernel keeps a bitmap of the calls that a filter always allows.
 */
static void let_memlock_be_raised(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setrlimit, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_MEMLOCK, 6, 5),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_MEMLOCK, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (setrlimit(RLIMIT_MEMLOCK, &all) == 0 || errno != EPERM)
		return;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		fail("seccomp");
}

static void read_commands(const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		fail(path);
	while (count < LINES && getline(&line, &size, file) > 0) {
		char *rest = strdup(line), *word;
		size_t words = 0;

		rest[strcspn(rest, "\n")] = 0;
		commands[count].label = strsep(&rest, " ");
		while (words < WORDS && (word = strsep(&rest, " ")))
			commands[count].argv[words++] = word;
		if (words)
			count++;
	}
	fclose(file);
	free(line);
}

static void run(const struct command *command, int sink)
{
	struct timespec begin, end;
	struct rusage usage;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid_t child = vfork();

	if (child < 0)
		fail("vfork");
	if (child == 0) {
		dup2(sink, 0);
		dup2(sink, 1);
		if (command->label[0] == '-')
			dup2(sink, 2);
		execvp(command->argv[0], command->argv);
		_exit(127);
	}
	if (wait4(child, &status, 0, &usage) < 0)
		fail("wait4");
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (command->label[0] == '-')
		return;
	if (status) {
		fprintf(stderr, "stopwatch: %s (%s) ended with status %d\n", command->label, command->argv[0], WEXITSTATUS(status));
		exit(1);
	}
	printf("%s %ld %ld\n", command->label,
	       (end.tv_sec - begin.tv_sec) * 1000000L + (end.tv_nsec - begin.tv_nsec) / 1000, usage.ru_maxrss);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: stopwatch ROUNDS FILE\n");
		return 2;
	}
	int sink = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (sink < 0)
		fail("/dev/null");
	let_memlock_be_raised();
	read_commands(argv[2]);
	for (long round = atol(argv[1]); round > 0; round--)
		for (size_t i = 0; i < count; i++)
			run(&commands[i], sink);
	return 0;
}
