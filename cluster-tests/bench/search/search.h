/* bench-search: one set of synthetic calls in the catalogue and in PostgreSQL 15, the same
 * questions to both, cold and warm. The answers are compared: each question's hits, in order. */
#ifndef ET_BENCH_SEARCH_H
#define ET_BENCH_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define BENCH_T0 INT64_C(1704067200000000) /* 2024-01-01 */
#define BENCH_YEAR (INT64_C(366) * 86400 * 1000000)
#define BENCH_AGENTS 2000
#define BENCH_SITES 8
#define BENCH_PAGE 50

/* ---- The calls: each follows from its number alone ---- */

struct bench_call {
	uint8_t id[16];
	int64_t start_us, end_us;
	char from[24], to[24];
	const char *site;
	char sip_call_id[48];
	char agent[16];
	const char *tag;   /* NULL: none */
	const char *queue; /* NULL: no facts */
	int64_t order;
	char note[160]; /* "": none */
};

uint64_t bench_mix(uint64_t x);
void bench_call_make(uint64_t i, uint64_t calls, struct bench_call *ret);
void bench_extension(unsigned agent, char ret[24]);
/* Who has the extension: the agents change desks in the middle of the year. */
unsigned bench_agent_of(unsigned extension, int64_t time_us);
const char *bench_site(unsigned i);
const char *bench_tag(unsigned i);
void bench_word(unsigned rank, char ret[16]);
void bench_customer(uint64_t k, char ret[24]);

/* ---- The questions ---- */

enum bench_kind {
	ASK_SITE_DAY,
	ASK_NUMBER,
	ASK_PREFIX_WEEK,
	ASK_SUFFIX,
	ASK_AGENT_WEEK,
	ASK_TAG_MONTH,
	ASK_FACT,
	ASK_WORDS_SITE,
	ASK_LONG_MONTH,
	ASK_CALL_ID,
	ASK_KINDS,
};

struct bench_question {
	enum bench_kind kind;
	int64_t from_us, to_us;
	char text[64]; /* number, agent, Call-ID, without a '*' */
	char words[40];
	const char *name; /* site or tag */
	int64_t order;
};

struct bench_answer {
	uint32_t hits;
	uint64_t sum; /* of the ids, in order */
};

const char *bench_kind_name(enum bench_kind kind);
void bench_question_make(enum bench_kind kind, unsigned run, uint64_t calls,
			 struct bench_question *ret);
void bench_answer_add(struct bench_answer *a, const uint8_t id[16]);

/* ---- The two ---- */

struct bench_load {
	double seconds, commands, index_seconds;
	uint64_t bytes, index_bytes;
};

struct bench_side {
	const char *name;
	int (*load)(void *side, uint64_t calls, struct bench_load *ret);
	int (*open)(void *side);   /* after a close, or the first time */
	int (*settle)(void *side); /* open: wait until nothing goes on in the background */
	void (*close)(void *side);
	int (*ask)(void *side, const struct bench_question *q, struct bench_answer *ret);
	void (*finish)(void *side);
	uint64_t (*memory)(void *side); /* resident bytes of the process that answers */
};

void *bench_evertape(const char *folder, const struct bench_side **ret);
/* NULL: it cannot be had here; *why says so. */
void *bench_pg(const char *folder, const struct bench_side **ret, const char **why);

/* ---- Figures ---- */

struct bench_times {
	double *us; /* owned */
	size_t count, capacity;
};

void bench_times_add(struct bench_times *t, double us);
double bench_times_at(struct bench_times *t, double quantile); /* sorts */
double bench_now_s(void);
/* Wait until this process has nothing to do in the background: compactions are part of a load, as
 * VACUUM is of the peer's. */
void bench_settle(void);
uint64_t bench_folder_bytes(const char *path);
void bench_folder_remove(const char *path);
uint64_t bench_rss(int pid);

#endif
