#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/search/search.h"
#include "node/base/bytes.h"

uint64_t bench_mix(uint64_t x) /* splitmix64 */
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

const char *bench_site(unsigned i)
{
	static const char *const sites[BENCH_SITES] = { "prg", "lon",  "fra",  "waw",
							"mad", "oslo", "brno", "kosice" };

	return sites[i % BENCH_SITES];
}

const char *bench_tag(unsigned i)
{
	static char tags[40][16];

	if (tags[i % 40][0] == '\0') {
		(void)snprintf(tags[i % 40], sizeof(tags[0]), "tag-%u", i % 40);
	}
	return tags[i % 40];
}

static const char *queue_name(unsigned i)
{
	static char queues[20][16];

	if (queues[i % 20][0] == '\0') {
		(void)snprintf(queues[i % 20], sizeof(queues[0]), "queue-%u", i % 20);
	}
	return queues[i % 20];
}

/* Five thousand words that sound like some. */
void bench_word(unsigned rank, char ret[16])
{
	static const char *const starts[] = { "ba",  "ko",  "li", "mu", "re",
					      "sta", "tra", "vo", "pe", "ne" };
	static const char *const middles[] = { "ran", "kol", "mit", "ven",
					       "dor", "sul", "par", "tek" };
	static const char *const ends[] = { "a", "y", "ost", "ing", "er", "ni", "um" };

	(void)snprintf(ret, 16, "%s%s%s%c", starts[rank % 10], middles[rank / 10 % 8],
		       ends[rank / 80 % 7], (char)('a' + rank / 560 % 26));
}

/* Numbers of a country's mobile networks mostly; a few from abroad. */
void bench_customer(uint64_t k, char ret[24])
{
	uint64_t r = bench_mix(k * 3 + 1);

	if (r % 100 < 4) {
		(void)snprintf(ret, 24, "+49%010llu", (unsigned long long)(r / 100 % 10000000000));
	} else if (r % 100 < 6) {
		(void)snprintf(ret, 24, "+44%010llu", (unsigned long long)(r / 100 % 10000000000));
	} else {
		unsigned network = 600 + (unsigned)(r / 100 % 40) * 5;
		(void)snprintf(ret, 24, "+420%03u%06llu", network,
			       (unsigned long long)(r / 4000 % 1000000));
	}
}

void bench_extension(unsigned agent, char ret[24])
{
	(void)snprintf(ret, 24, "%u", 4000 + agent % BENCH_AGENTS);
}

unsigned bench_agent_of(unsigned extension, int64_t time_us)
{
	return time_us < BENCH_T0 + BENCH_YEAR / 2 ? extension : (extension + 1) % BENCH_AGENTS;
}

static int64_t call_duration(uint64_t r)
{
	uint64_t ms;

	switch (r % 100) {
	case 0:
	case 1: /* long ones */
		ms = 600000 + bench_mix(r) % 3600000;
		break;
	case 2:
	case 3:
	case 4:
	case 5: /* nobody answers */
		ms = bench_mix(r) % 8000;
		break;
	default:
		ms = 8000 + bench_mix(r) % 200000 + bench_mix(r + 1) % 200000;
		break;
	}
	return (int64_t)ms * 1000;
}

static void call_note(uint64_t i, struct bench_call *c)
{
	size_t size = 0;
	unsigned words = 6 + (unsigned)(bench_mix(i * 31) % 6);

	for (unsigned w = 0; w < words; w++) {
		uint64_t r = bench_mix(i * 31 + w + 7);
		char word[16];
		double u = (double)(r % 1000000) / 1e6;
		bench_word((unsigned)(u * u * 5000), word); /* some words are frequent */
		size += (size_t)snprintf(c->note + size, sizeof(c->note) - size, "%s%s",
					 w > 0 ? " " : "", word);
	}
}

void bench_call_make(uint64_t i, uint64_t calls, struct bench_call *c)
{
	int64_t step = BENCH_YEAR / (int64_t)calls;
	uint64_t r = bench_mix(i * 5 + 11);
	uint64_t customers = calls / 5 + 1;
	char customer[24];
	char desk[24];

	memset(c, 0, sizeof(*c));
	c->start_us = BENCH_T0 + (int64_t)i * step + (int64_t)(bench_mix(i) % (uint64_t)step);
	c->end_us = c->start_us + call_duration(bench_mix(r));
	et_put64(c->id, (uint64_t)(c->start_us / 1000) << 16 | 0x7000 | (r & 0xfff));
	et_put64(c->id + 8, (bench_mix(r + 2) >> 2) | UINT64_C(1) << 63);
	unsigned site = 0;
	while (site < BENCH_SITES - 1 && bench_mix(r + 3 + site) % 100 >= 35) {
		site++;
	}
	c->site = bench_site(site);
	double u = (double)(bench_mix(r + 20) % 1000000) / 1e6;
	bench_customer((uint64_t)(u * u * (double)customers), customer);
	unsigned extension = (unsigned)(bench_mix(r + 21) % BENCH_AGENTS);
	bench_extension(extension, desk);
	bool inbound = bench_mix(r + 22) % 10 < 6;
	(void)snprintf(c->from, sizeof(c->from), "%s", inbound ? customer : desk);
	(void)snprintf(c->to, sizeof(c->to), "%s", inbound ? desk : customer);
	(void)snprintf(c->agent, sizeof(c->agent), "agent-%u",
		       bench_agent_of(extension, c->start_us));
	(void)snprintf(c->sip_call_id, sizeof(c->sip_call_id), "%016llx@10.0.%u.7",
		       (unsigned long long)bench_mix(i + 77), site);
	if (bench_mix(r + 23) % 100 < 12) {
		double t = (double)(bench_mix(r + 24) % 1000000) / 1e6;
		c->tag = bench_tag((unsigned)(t * t * 40));
	}
	if (bench_mix(r + 25) % 100 < 40) {
		c->queue = queue_name((unsigned)(bench_mix(r + 26) % 20));
		c->order = 100000 + (int64_t)(bench_mix(r + 27) % (calls / 2 + 1));
	}
	if (bench_mix(r + 28) % 100 < 10) {
		call_note(i, c);
	}
}
