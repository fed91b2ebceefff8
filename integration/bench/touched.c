/*
 * touched BINARY SYMBOLS COMMAND [ARG...]
 *
 * Runs COMMAND and prints the functions of BINARY that any of its processes comes to, each once, in the order in which
 * they are first come to. SYMBOLS is a file of lines "ADDRESS NAME" (nm --radix d), sorted. BINARY is static and lies
 * where it was linked to. A breakpoint at each function's first byte tells; dhow maps its own code anew while it runs,
 * so they are set again after each mmap(2). integration/bench/order makes the linker's list of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 65536
#define BREAKPOINT 0xcc

static struct function {
	unsigned long address;
	char *name;
	unsigned char first;            /* the byte that the breakpoint stands on */
	int seen;
} functions[MOST];
static size_t count;
static struct stat binary;
static pid_t alive[MOST];
static size_t living;

static void fail(const char *what)
{
	fprintf(stderr, "touched: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void know(pid_t pid)
{
	for (size_t i = 0; i < living; i++)
		if (alive[i] == pid)
			return;
	if (living < MOST)
		alive[living++] = pid;
}

static void read_symbols(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long address;
	char name[1 << 16];

	if (!file)
		fail(path);
	while (count < MOST && fscanf(file, "%lu %65535s", &address, name) == 2) {
		if (count && functions[count - 1].address == address)
			continue;
		functions[count].address = address;
		functions[count++].name = strdup(name);
	}
	fclose(file);
}

static struct function *at(unsigned long address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (functions[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && functions[low].address == address ? &functions[low] : NULL;
}

static int open_file(pid_t pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return open(path, flags | O_CLOEXEC);
}

static int runs_from_binary(pid_t pid)
{
	struct stat status;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	return stat(path, &status) == 0 && status.st_ino == binary.st_ino;
}

/* Sets a breakpoint on each function that nobody has come to yet. */
static void set_breakpoints(pid_t pid)
{
	static const unsigned char breakpoint = BREAKPOINT;
	int memory = open_file(pid, "mem", O_RDWR);

	if (memory < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct function *function = &functions[i];
		unsigned char byte;

		if (function->seen || pread(memory, &byte, 1, function->address) != 1 || byte == BREAKPOINT)
			continue;
		function->first = byte;
		if (pwrite(memory, &breakpoint, 1, function->address) != 1)
			break;
	}
	close(memory);
}

/* Takes the breakpoints of a process back that lives on: a container that waits for its start. */
static void let_go(pid_t pid)
{
	int memory = open_file(pid, "mem", O_RDWR);

	for (size_t i = 0; memory >= 0 && i < count; i++) {
		unsigned char byte;

		if (pread(memory, &byte, 1, functions[i].address) == 1 && byte == BREAKPOINT && functions[i].first)
			pwrite(memory, &functions[i].first, 1, functions[i].address);
	}
	close(memory);
}

/* Whether the process stands behind a breakpoint of ours; then it is taken back and the function told. */
static int pass(pid_t pid)
{
	struct user_regs_struct registers;
	struct function *function;
	int memory;

	if (ptrace(PTRACE_GETREGS, pid, 0, &registers) < 0 || !(function = at(registers.rip - 1)))
		return 0;
	memory = open_file(pid, "mem", O_RDWR);
	if (memory < 0 || pwrite(memory, &function->first, 1, function->address) != 1)
		fail("take a breakpoint back");
	close(memory);
	registers.rip--;
	ptrace(PTRACE_SETREGS, pid, 0, &registers);
	if (!function->seen) {
		function->seen = 1;
		puts(function->name);
	}
	return 1;
}

/* At the end of a system call: whether it may have put other pages in the code's place. */
static int has_mapped(pid_t pid)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, 0, &registers) < 0)
		return 0;
	return registers.orig_rax == SYS_mmap && registers.rax == registers.rdi && registers.rdi != 0;
}

static void go_on(pid_t pid, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status), request = PTRACE_SYSCALL;

	if (event == PTRACE_EVENT_EXEC && !runs_from_binary(pid))
		request = PTRACE_DETACH;
	else if (event == PTRACE_EVENT_EXEC || (event == 0 && signal == SIGSTOP))
		set_breakpoints(pid);
	else if (signal == (SIGTRAP | 0x80) && has_mapped(pid))
		set_breakpoints(pid);
	else if (event == 0 && signal == SIGTRAP && !pass(pid))
		fprintf(stderr, "touched: %d trapped by itself\n", pid);
	if (event != 0 || signal == SIGTRAP || signal == SIGSTOP || signal & 0x80)
		signal = 0;
	ptrace(request, pid, 0, signal);
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
			     PTRACE_O_TRACESYSGOOD;
	int status, result = 1;
	pid_t child, pid;

	/* What is watched may write to the same pipe: whole lines. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 4) {
		fprintf(stderr, "touched: usage: touched BINARY SYMBOLS COMMAND [ARG...]\n");
		return 2;
	}
	if (stat(argv[1], &binary) < 0)
		fail(argv[1]);
	read_symbols(argv[2]);
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[3], argv + 3);
		fail(argv[3]);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, options);
	ptrace(PTRACE_CONT, child, 0, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status)) {
			know(pid);
			go_on(pid, status);
			continue;
		}
		if (pid != child)
			continue;
		result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		break;
	}
	while (living > 0)
		let_go(alive[--living]);
	fflush(stdout);
	return result;
}
