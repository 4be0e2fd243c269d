/* What the codes of health and errors mean: `evertape explain`.
 *
 * Threads: static, read-only. */
#ifndef ET_OPS_CLI_CODES_H
#define ET_OPS_CLI_CODES_H

struct et_cli_code {
	const char *code;
	const char *level; /* degraded | at_risk | error | note */
	const char *means;
	const char *next;
};

extern const struct et_cli_code et_cli_codes[]; /* ends with a NULL code */

const struct et_cli_code *et_cli_code_find(const char *code); /* either case; NULL: none */
const char *et_cli_code_suggest(const char *code);	      /* NULL: nothing is near */

#endif
