/* etcheck: histories on standard input to verdicts. See check.h.
 *
 *   etcheck register   r KEY CALL RET VALUE | w KEY CALL RET VALUE | c KEY CALL RET FROM VALUE
 * yes|no     a line each; RET - : open; KEY a word, times and values whole numbers; a register
 * begins with 0 etcheck set        added ID | refused ID | maybe ID | final ID etcheck unique CALL
 * RET NUMBER         nobody got a number twice, later calls get larger ones etcheck monotone   CALL
 * RET NUMBER         later calls get no smaller number
 *
 * Exit 0: sound, and a line says what was looked at. 1: not sound, and a line says where. 2: it
 * cannot be read. 3: the search became too long to say. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/check/check.h"
#include "node/base/defs.h"

#define LINE_MAX_ 512
#define STATES_MAX 4000000
#define WORDS_MAX 8

struct keyed {
	char key[64];
	size_t line;
	struct et_op op;
};

static size_t line_number;

static int bad(void)
{
	(void)fprintf(stderr, "etcheck: line %zu cannot be read\n", line_number);
	exit(2);
}

/* Split into words; how many. 0 at the end of the input. */
static size_t words_read(char line[LINE_MAX_], char *words[WORDS_MAX])
{
	size_t count = 0;
	if (fgets(line, LINE_MAX_, stdin) == NULL) {
		return 0;
	}
	line_number++;
	if (strchr(line, '\n') == NULL) {
		bad();
	}
	char *save = NULL;
	for (char *w = strtok_r(line, " \n", &save); w != NULL; w = strtok_r(NULL, " \n", &save)) {
		if (count == WORDS_MAX) {
			bad();
		}
		words[count++] = w;
	}
	if (count == 0) {
		bad();
	}
	return count;
}

static uint64_t number(const char *text)
{
	char *end = NULL;
	uint64_t v = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	if (end == NULL || *end != '\0' || v > INT64_MAX) {
		bad();
	}
	return v;
}

static void *grown(void *items, size_t count, size_t size)
{
	if ((count & (count - 1)) == 0) {
		items = realloc(items, (count > 0 ? 2 * count : 1) * size);
		et_assert(items != NULL);
	}
	return items;
}

/* ---- Registers ---- */

static struct keyed op_parse(char **words, size_t count)
{
	struct keyed k = { .line = line_number };
	const char *kind = words[0];
	bool cas = strcmp(kind, "c") == 0;
	if (count != (cas ? 7 : 5) || (!cas && strcmp(kind, "r") != 0 && strcmp(kind, "w") != 0) ||
	    strlen(words[1]) >= sizeof(k.key)) {
		bad();
	}
	(void)snprintf(k.key, sizeof(k.key), "%s", words[1]);
	k.op.kind = cas ? ET_OP_CAS : *kind == 'r' ? ET_OP_READ : ET_OP_WRITE;
	k.op.call = number(words[2]);
	k.op.ret = strcmp(words[3], "-") == 0 ? ET_OPEN : number(words[3]);
	k.op.value = (int64_t)number(words[cas ? 5 : 4]);
	if (cas) {
		k.op.from = (int64_t)number(words[4]);
		k.op.swapped = strcmp(words[6], "yes") == 0;
	}
	if (k.op.ret <= k.op.call) {
		bad();
	}
	return k;
}

static int keyed_order(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	int order = strcmp(x->key, y->key);
	return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

/* One key: its operations are all[0] to all[count - 1]. Exit code. */
static int key_check(const struct keyed *all, size_t count)
{
	size_t last = 0;
	struct et_op *ops = calloc(count, sizeof(*ops));
	et_assert(ops != NULL);
	for (size_t i = 0; i < count; i++) {
		ops[i] = all[i].op;
	}
	enum et_verdict verdict = et_register_check(ops, count, 0, STATES_MAX, &last);
	free(ops);
	if (verdict == ET_UNDECIDED) {
		(void)printf("register %s: undecided after %d states, %zu operations\n", all[0].key,
			     STATES_MAX, count);
		return 3;
	}
	if (verdict == ET_NOT_LINEARIZABLE) {
		(void)printf("register %s: not linearizable; no place for line %zu\n", all[0].key,
			     all[last].line);
		return 1;
	}
	return 0;
}

static int registers(void)
{
	char line[LINE_MAX_], *words[WORDS_MAX];
	struct keyed *all = NULL;
	size_t count = 0, keys = 0, open = 0;
	int worst = 0;
	for (size_t n; (n = words_read(line, words)) > 0; count++) {
		all = grown(all, count, sizeof(*all));
		all[count] = op_parse(words, n);
		open += all[count].op.ret == ET_OPEN;
	}
	if (count > 0) {
		qsort(all, count, sizeof(*all), keyed_order);
	}
	for (size_t begin = 0, end; begin < count; begin = end, keys++) {
		for (end = begin; end < count && strcmp(all[end].key, all[begin].key) == 0; end++) {
		}
		int rc = key_check(&all[begin], end - begin);
		worst = rc == 1 || worst == 0 ? rc : worst;
	}
	if (worst == 0) {
		(void)printf("linearizable: %zu operations on %zu registers, %zu of them open\n",
			     count, keys, open);
	}
	free(all);
	return worst;
}

/* ---- Sets ---- */

static int sets(void)
{
	static const char *const faults[] = {
		[ET_SET_SOUND] = "sound",
		[ET_SET_LOST] = "was acknowledged and is lost",
		[ET_SET_TWICE] = "is there twice",
		[ET_SET_REFUSED] = "was refused and is there",
		[ET_SET_UNKNOWN] = "is there and nobody asked for it",
	};
	static const char *const kinds[] = { "added", "refused", "maybe" };
	char line[LINE_MAX_], *words[WORDS_MAX];
	struct et_set_add *adds = NULL;
	const char **final = NULL;
	const char *id = NULL;
	size_t counts[3] = { 0 }, add_count = 0, final_count = 0;
	for (size_t n; (n = words_read(line, words)) > 0;) {
		char *copy = n == 2 ? strdup(words[1]) : NULL;
		size_t kind = 0;
		if (copy == NULL) {
			bad();
		}
		while (kind < 3 && strcmp(words[0], kinds[kind]) != 0) {
			kind++;
		}
		if (kind < 3) {
			adds = grown(adds, add_count, sizeof(*adds));
			adds[add_count++] =
				(struct et_set_add){ .id = copy,
						     .outcome = (enum et_set_outcome)kind };
			counts[kind]++;
		} else if (strcmp(words[0], "final") == 0) {
			final = grown(final, final_count, sizeof(*final));
			final[final_count++] = copy;
		} else {
			bad();
		}
	}
	enum et_set_fault fault = et_set_check(adds, add_count, final, final_count, &id);
	if (fault == ET_SET_SOUND) {
		(void)printf(
			"sound: %zu acknowledged, %zu refused, %zu without an answer, %zu there\n",
			counts[0], counts[1], counts[2], final_count);
	} else {
		(void)printf("%s %s\n", id, faults[fault]);
	}
	return fault == ET_SET_SOUND ? 0 : 1;
}

/* ---- Numbers ---- */

static int numbers(bool unique)
{
	char line[LINE_MAX_], *words[WORDS_MAX];
	struct et_numbered *all = NULL;
	struct et_numbered a, b;
	size_t count = 0;
	for (size_t n; (n = words_read(line, words)) > 0;) {
		if (n != 3) {
			bad();
		}
		all = grown(all, count, sizeof(*all));
		all[count++] = (struct et_numbered){ .call = number(words[0]),
						     .ret = number(words[1]),
						     .number = number(words[2]) };
	}
	if (et_order_check(all, count, unique, &a, &b)) {
		(void)printf("%s: %zu operations\n", unique ? "unique and in order" : "monotone",
			     count);
		return 0;
	}
	(void)printf("number %" PRIu64 " (%" PRIu64 " to %" PRIu64 ") and number %" PRIu64
		     " (%" PRIu64 " to %" PRIu64 ") do not fit\n",
		     a.number, a.call, a.ret, b.number, b.call, b.ret);
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	if (strcmp(what, "register") == 0) {
		return registers();
	}
	if (strcmp(what, "set") == 0) {
		return sets();
	}
	if (strcmp(what, "unique") == 0 || strcmp(what, "monotone") == 0) {
		return numbers(*what == 'u');
	}
	(void)fprintf(stderr, "usage: etcheck register|set|unique|monotone < HISTORY\n");
	return 2;
}
