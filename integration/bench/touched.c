/*
 * touched BINARY COMMAND [ARG...]
 *
 * Runs COMMAND, steps through each of its processes for as long as it runs from the file BINARY, and prints the addresses
 * of the code that was executed in the order in which each block of 16 bytes was first come to.
 * integration/bench/order makes a list of functions of that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* A static program that is not position-independent lies in the first part of the address space. */
#define LIMIT (1UL << 32)
static unsigned char seen[LIMIT >> 4 >> 3];

static struct stat binary;

/* Those that we step through. */
static pid_t traced[64];
static int traced_count;

static void remember(pid_t pid)
{
	int i;
	for (i = 0; i < traced_count; i++)
		if (traced[i] == pid)
			return;
	if (traced_count < 64)
		traced[traced_count++] = pid;
}

/* A process that COMMAND leaves behind goes on alone: stopped first, for one that is stepped can't be let go. */
static void let_go(void)
{
	int i, status;
	for (i = 0; i < traced_count; i++) {
		if (kill(traced[i], SIGSTOP) == 0 && waitpid(traced[i], &status, __WALL) > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, traced[i], 0, 0);
	}
}

static int runs_from_binary(pid_t pid)
{
	char path[64];
	struct stat status;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	return stat(path, &status) == 0 && status.st_ino == binary.st_ino;
}

static void note(pid_t pid)
{
	struct user_regs_struct registers;
	unsigned long block;
	if (ptrace(PTRACE_GETREGS, pid, 0, &registers) < 0 || registers.rip >= LIMIT)
		return;
	block = registers.rip >> 4;
	if (seen[block >> 3] & (1 << (block & 7)))
		return;
	seen[block >> 3] |= 1 << (block & 7);
	printf("%llu\n", registers.rip);
}

/* Lets a process that has stopped do its next step, or all the rest once it runs from another file. */
static void go_on(pid_t pid, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);
	if (event == PTRACE_EVENT_EXEC && !runs_from_binary(pid)) {
		ptrace(PTRACE_DETACH, pid, 0, 0);
		return;
	}
	if (event != 0 || signal == SIGTRAP || signal == SIGSTOP)
		signal = 0;
	note(pid);
	remember(pid);
	ptrace(PTRACE_SINGLESTEP, pid, 0, signal);
}

int main(int count, char **arguments)
{
	const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
	pid_t child, pid;
	int status, result = 1;
	if (count < 3 || stat(arguments[1], &binary) < 0) {
		fprintf(stderr, "touched: usage: touched BINARY COMMAND [ARG...]\n");
		return 2;
	}
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(arguments[2], arguments + 2);
		fprintf(stderr, "touched: %s: %s\n", arguments[2], strerror(errno));
		_exit(127);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, options);
	ptrace(PTRACE_CONT, child, 0, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status)) {
			go_on(pid, status);
		} else if (pid == child) {
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			break;
		}
	}
	let_go();
	return result;
}
