/* A file that somebody calls a backup: it is read to its end or refused, whatever it holds. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "raft/backup/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_backup_head head;
	struct et_backup_reader *r = NULL;
	char path[] = "/tmp/fuzz_backup.XXXXXX";
	size_t length = 0;

	if (et_backup_head_parse((struct et_view){ data, size }, &head, &length, NULL) == 0) {
		et_assert(length <= size && head.node != 0);
	}
	int fd = mkstemp(path);
	if (fd < 0) {
		return 0;
	}
	if (write(fd, data, size) == (ssize_t)size && et_backup_open(path, &r, NULL) == 0) {
		(void)et_backup_check(r, NULL);
		(void)et_backup_close(r);
	}
	(void)close(fd);
	(void)unlink(path);
	return 0;
}
