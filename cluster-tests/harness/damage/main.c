/* labdamage: change one bit in the catalogue of a node that is stopped, so that RocksDB cannot see
 * it.
 *
 *   labdamage STATE KEY      KEY is one of the rows of RocksDB's default column family:
 *                            "applied" (the running digest), "counts", "audit", "cluster"
 *
 * Exit: 0 done, 1 it could not be done, 2 usage. */
#include <stdio.h>
#include <string.h>

#include "raft/state/damage.h"

int main(int argc, char **argv)
{
	char path[4096];
	char name[256];

	if (argc != 3) {
		(void)fputs("usage: labdamage STATE KEY\n", stderr);
		return 2;
	}
	(void)snprintf(path, sizeof(path), "%s/db/CURRENT", argv[1]);
	FILE *f = fopen(path, "re");
	if (f == NULL || fgets(name, sizeof(name), f) == NULL) {
		perror(path);
		return 1;
	}
	(void)fclose(f);
	name[strcspn(name, "\n")] = '\0';
	(void)snprintf(path, sizeof(path), "%s/db/%s", argv[1], name);
	/* Of the cluster's record a letter of its name: a tick would put its time right again. */
	int at = strcmp(argv[2], "cluster") == 0 ? 3 : -2;
	if (!et_state_damage(path, "default", argv[2], strlen(argv[2]), at)) {
		(void)fprintf(stderr, "labdamage: '%s' of %s could not be changed\n", argv[2],
			      path);
		return 1;
	}
	return 0;
}
