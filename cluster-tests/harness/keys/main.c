/* labkeys ROOT STATE [DATABASE] < SHARES: see keys.h. Never installed. */
#include "cluster-tests/harness/keys/keys.h"

int main(int argc, char **argv)
{
	struct et_error e = { 0 };

	if (argc != 3 && argc != 4) {
		(void)fputs("usage: labkeys ROOT STATE [DATABASE] < SHARES\n", stderr);
		return 2;
	}
	struct et_labkeys k = { .root = argv[1],
				.state = argv[2],
				.shares = stdin,
				.database = argc == 4 ? argv[3] : NULL };
	int rc = et_labkeys_print(&k, stdout, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "labkeys: %s\n", e.text);
		return et_exit_code(rc);
	}
	return 0;
}
