/* labkeys ROOT STATE [DATABASE] < SHARES, or labkeys --image ROOT STATE DATABASE [TARGET]: see
 * keys.h. Never installed. */
#include <string.h>

#include "cluster-tests/harness/keys/keys.h"

int main(int argc, char **argv)
{
	struct et_error e = { 0 };
	int rc;

	if ((argc == 5 || argc == 6) && strcmp(argv[1], "--image") == 0) {
		rc = et_labkeys_image(&(struct et_labimage){ .root = argv[2],
							     .state = argv[3],
							     .database = argv[4],
							     .target = argv[5] },
				      stdout, &e);
	} else if (argc == 3 || argc == 4) {
		rc = et_labkeys_print(&(struct et_labkeys){ .root = argv[1],
							    .state = argv[2],
							    .shares = stdin,
							    .database = argv[3] },
				      stdout, &e);
	} else {
		(void)fputs("usage: labkeys ROOT STATE [DATABASE] < SHARES\n"
			    "       labkeys --image ROOT STATE DATABASE [TARGET]\n",
			    stderr);
		return 2;
	}
	if (rc < 0) {
		(void)fprintf(stderr, "labkeys: %s\n", e.text);
		return et_exit_code(rc);
	}
	return 0;
}
