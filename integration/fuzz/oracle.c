/* Lists tars as libarchive reads them, in the words and by the protocol of oracle.py. */
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char *text;
static size_t length, room;

static void say(const void *bytes, size_t count) {
	if (length + count > room) {
		room = 2 * (length + count);
		text = realloc(text, room);
		if (text == NULL) abort();
	}
	memcpy(text + length, bytes, count);
	length += count;
}

static void words(const char *form, long long value) {
	char word[64];
	say(word, (size_t)snprintf(word, sizeof word, form, value));
}

static void hex(const char *name) {
	if (name == NULL || *name == 0) {
		say("-", 1);
		return;
	}
	for (; *name; name++) words("%02llx", (unsigned char)*name);
}

static char kind_of(struct archive_entry *entry) {
	if (archive_entry_hardlink(entry) != NULL) return 'h';
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG: return 'f';
	case AE_IFDIR: return 'd';
	case AE_IFLNK: return 'l';
	case AE_IFCHR: return 'c';
	case AE_IFBLK: return 'b';
	case AE_IFIFO: return 'p';
	default: return '?';
	}
}

/* FNV-1a over the bytes with their holes; the other side computes it too. */
static int content(struct archive *reader, uint64_t *sum, long long size) {
	const void *piece;
	size_t count;
	la_int64_t offset;
	long long at = 0;
	int status;
	*sum = 0xcbf29ce484222325u;
	while ((status = archive_read_data_block(reader, &piece, &count, &offset)) == ARCHIVE_OK) {
		for (; at < offset; at++) *sum = *sum * 0x100000001b3u;
		for (size_t n = 0; n < count; n++, at++) *sum = (*sum ^ ((const unsigned char *)piece)[n]) * 0x100000001b3u;
	}
	for (; at < size; at++) *sum = *sum * 0x100000001b3u;
	return status == ARCHIVE_EOF ? 0 : -1;
}

static int entries(struct archive *reader) {
	struct archive_entry *entry;
	int status;
	while ((status = archive_read_next_header(reader, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
		char kind = kind_of(entry);
		long long size = kind == 'f' ? archive_entry_size(entry) : 0;
		uint64_t sum = 0;
		say(&kind, 1);
		say(" ", 1);
		hex(archive_entry_pathname(entry));
		words(" %lld ", size);
		hex(kind == 'h' ? archive_entry_hardlink(entry) : kind == 'l' ? archive_entry_symlink(entry) : NULL);
		int node = kind == 'c' || kind == 'b';
		words(" %lld", node ? archive_entry_rdevmajor(entry) : 0);
		words(",%lld", node ? archive_entry_rdevminor(entry) : 0);
		words(" %llo", archive_entry_perm(entry) & 07777);
		words(" %lld", archive_entry_uid(entry));
		words(" %lld", archive_entry_gid(entry));
		words(" %lld", archive_entry_mtime(entry));
		words(".%09lld", archive_entry_mtime_nsec(entry));
		if (kind == 'f') {
			if (size > 1 << 24 || content(reader, &sum, size) != 0) return -1;
			words(" %016llx\n", (long long)sum);
		} else {
			say(" -\n", 3);
		}
	}
	return status == ARCHIVE_EOF ? 0 : -1;
}

static void listed(const void *bytes, size_t count) {
	struct archive *reader = archive_read_new();
	archive_read_support_format_tar(reader);
	archive_read_support_format_empty(reader);
	length = 0;
	if (archive_read_open_memory(reader, bytes, count) != ARCHIVE_OK || entries(reader) != 0) {
		const char *why = archive_error_string(reader);
		length = 0;
		say("!", 1);
		say(why ? why : "no tar", strlen(why ? why : "no tar"));
	}
	archive_read_free(reader);
}

int main(void) {
	uint32_t count;
	while (fread(&count, sizeof count, 1, stdin) == 1) {
		char *bytes = malloc(count + 1);
		if (bytes == NULL || fread(bytes, 1, count, stdin) != count) return 1;
		listed(bytes, count);
		free(bytes);
		count = (uint32_t)length;
		fwrite(&count, sizeof count, 1, stdout);
		fwrite(text, 1, length, stdout);
		fflush(stdout);
	}
	return 0;
}
