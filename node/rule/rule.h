/* Recording rules: is this call recorded, which rule says so, and why none before it did.
 *
 * Rules are tried in order. The first whose conditions all hold decides; when none does, the
 * explicit default. A condition that is not given holds for every call.
 *
 * A call about which something is not known (its INVITE was not seen, so its headers are not) makes
 * conditions on it ET_RULE_UNKNOWN. Such a rule does not fire; when one stands before the rule that
 * does, the decision is provisional and may be made again when more is known. The caller decides
 * whether it is.
 *
 * The engine, `capture explain` and the tests evaluate with the same function, so that what is
 * explained is what is done.
 *
 * Cost: bounded by the limits below. A pattern costs at most its length times the text's; of a
 * text from the wire at most ET_RULE_TEXT_MAX bytes are looked at.
 *
 * Threads: pure functions over plain values, which may be copied; et_zone_load() reads a file. */
#ifndef ET_NODE_RULE_RULE_H
#define ET_NODE_RULE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/rule/agent.h"
#include "node/rule/hours.h"
#include "node/rule/join.h"
#include "node/rule/zone.h"

#define ET_RULES_MAX 64
#define ET_RULE_NAME_MAX 63	 /* bytes, as everywhere of names */
#define ET_RULE_NUMBERS_MAX 16	 /* of one condition */
#define ET_RULE_OWN_MAX 64	 /* own numbers */
#define ET_RULE_PATTERN_MAX 63	 /* bytes */
#define ET_RULE_SITES_MAX 8	 /* of one rule */
#define ET_RULE_AGENTS_MAX 16	 /* of one rule */
#define ET_RULE_HEADERS_MAX 4	 /* of one rule */
#define ET_RULE_HEADER_LINES 8	 /* of one name that are looked at in a message */
#define ET_RULE_TEXT_MAX 256	 /* bytes of a number or header from the wire that are looked at */
#define ET_RULE_ZONES_MAX 8	 /* different time zones of all rules */
#define ET_RULE_SAMPLE_ALL 10000 /* shares are in hundredths of a percent */

/* ON_DEMAND: as RECORD, but into a ring that is lost unless somebody decides to keep it. */
enum et_rule_action { ET_RULE_SKIP, ET_RULE_RECORD, ET_RULE_ON_DEMAND };

/* As the own numbers say; EXTERNAL: neither party is one of them. */
enum et_rule_direction {
	ET_RULE_INBOUND = 1,
	ET_RULE_OUTBOUND = 2,
	ET_RULE_INTERNAL = 4,
	ET_RULE_EXTERNAL = 8,
};

/* Over the user part of From or To. Three forms:
 *   4711            exactly this
 *   +4202*          a shell pattern: * ? [a-z] [!a-z] and \ before one of them
 *   1000-1999       a range of numbers of equal length, both ends among them; +420100-+420199 */
struct et_rule_number {
	char text[ET_RULE_PATTERN_MAX + 1];
};

struct et_rule_numbers {
	uint32_t count; /* 0: every number fits */
	struct et_rule_number list[ET_RULE_NUMBERS_MAX];
};

struct et_rule_header {
	char name[ET_RULE_NAME_MAX + 1];     /* without regard to case */
	char value[ET_RULE_PATTERN_MAX + 1]; /* a shell pattern over the whole value */
};

struct et_rule_time {
	bool given;
	uint8_t zone; /* number in et_rules.zones */
	struct et_hours hours;
};

/* Key presses of a call that is recorded: telephone events, and those in SIP. */
enum et_rule_digits { ET_RULE_DIGITS_DEFAULT, ET_RULE_DIGITS_KEEP, ET_RULE_DIGITS_DROP };

/* Key presses as sound in the audio of a call that is recorded. What a recording is told to have
 * never becomes less: the numbers are in that order, and those of Recording.tones. */
enum et_rule_tones {
	ET_RULE_TONES_DEFAULT,
	ET_RULE_TONES_KEEP,
	ET_RULE_TONES_MASK,   /* silence in what is heard (node/audio/mask.h); the tape has them */
	ET_RULE_TONES_DROP,   /* silence on the tape, in G.711 that is open; in others as MASK */
	ET_RULE_TONES_STRICT, /* as DROP; of others nothing is written */
};

/* Keys that pause a recording and let it go on: telephone events and those in SIP INFO. */
#define ET_RULE_KEYS_MAX 8		       /* of one sequence */
#define ET_RULE_KEYS_PAUSE_US (10 * 1000000LL) /* between two keys: longer, and it begins anew */

enum et_rule_by { ET_RULE_BY_ANY, ET_RULE_BY_CALLER, ET_RULE_BY_CALLEE };

struct et_rule_pause {
	char start[ET_RULE_KEYS_MAX + 1]; /* "*7"; "": keys pause nothing */
	char stop[ET_RULE_KEYS_MAX + 1];  /* may be the same */
	enum et_rule_by by;		  /* whose keys */
	bool without_key; /* media is protected and no key opens it: paused (else recorded) */
	int64_t max_us;	  /* it goes on by itself; 0: as every pause does */
};

/* Of a rule that records on demand. */
#define ET_RULE_RING_MIN_US (10 * 1000000LL)
#define ET_RULE_RING_MAX_US (3600 * 1000000LL)
#define ET_RULE_KEEP_FOR_MAX_US (3600 * 1000000LL)

struct et_rule_ring {
	int64_t reach_us;		 /* how far back from the decision it is kept */
	int64_t keep_for_us;		 /* after the end it can still be kept; 0: not */
	char keep[ET_RULE_KEYS_MAX + 1]; /* "*9": keys that keep it; "": by request only */
	enum et_rule_by by;		 /* whose keys */
};

struct et_rule {
	char name[ET_RULE_NAME_MAX + 1];
	enum et_rule_action action;
	struct et_rule_numbers from;
	struct et_rule_numbers to;
	unsigned directions; /* of enum et_rule_direction; 0: all */
	uint32_t site_count; /* 0: every site */
	char sites[ET_RULE_SITES_MAX][ET_RULE_NAME_MAX + 1];
	uint32_t agent_count; /* 0: whoever; else one of the parties is one of these at the time */
	char agents[ET_RULE_AGENTS_MAX][ET_AGENT_TEXT_MAX + 6]; /* an agent's id, or "team:NAME" */
	uint32_t header_count;					/* all of them must hold */
	struct et_rule_header headers[ET_RULE_HEADERS_MAX];
	struct et_rule_time time;
	uint32_t sample;	    /* of ET_RULE_SAMPLE_ALL; 0: not given, all */
	bool media_only;	    /* only calls without signalling */
	enum et_rule_digits digits; /* no condition: what becomes of key presses */
	enum et_rule_tones tones;   /* no condition: what becomes of tones in the audio */
	struct et_rule_pause pause; /* no condition, either */
	struct et_rule_ring ring;   /* of ET_RULE_ON_DEMAND */
};

struct et_rules {
	uint32_t count;
	struct et_rule rules[ET_RULES_MAX];
	enum et_rule_action otherwise; /* the default, when no rule fires */
	enum et_rule_digits digits;    /* of the default, and of rules that do not say */
	enum et_rule_tones tones;      /* as well */
	uint32_t own_count;
	struct et_rule_number own[ET_RULE_OWN_MAX];
	uint32_t join_count; /* which legs are one call; one of numbers, at most */
	struct et_join joins[ET_JOINS_MAX];
	uint32_t zone_count;
	struct et_zone zones[ET_RULE_ZONES_MAX];
};

/* What is known of a call. Texts are borrowed for the call of a function. */
struct et_rule_facts {
	const char *from; /* user part; "" when there is none */
	const char *to;
	const char *site;
	int64_t start_us; /* UTC */
	uint64_t sample;  /* et_rule_sample() */
	bool media_only;
	const struct et_agents *agents; /* borrowed; NULL: who uses a number is not known */
	/* The value of the n-th header line of this name, n from 0; false: there are no more. NULL:
	 * the headers are not known. */
	bool (*header)(const void *arg, const char *name, uint32_t n, struct et_view *ret);
	const void *arg; /* borrowed */
};

struct et_rule_decision {
	int rule; /* number of the rule that fired; -1: none, the default */
	enum et_rule_action action;
	bool provisional; /* a rule before it could not be told from what is known */
};

enum et_rule_verdict { ET_RULE_FITS, ET_RULE_NO, ET_RULE_UNKNOWN };

#define ET_RULE_WHY_MAX 256

/* Does the rule fit? `why` (ET_RULE_WHY_MAX bytes, or NULL) gets a sentence about the first
 * condition that does not hold or is not known; about all that hold when it fits. */
enum et_rule_verdict et_rule_fits(const struct et_rules *rules, const struct et_rule *rule,
				  const struct et_rule_facts *facts, char *why);

struct et_rule_decision et_rules_decide(const struct et_rules *rules,
					const struct et_rule_facts *facts);

/* The name of the rule of a decision, or "default": borrowed from `rules`, or static. */
const char *et_rules_name(const struct et_rules *rules, int rule);

/* 0 when there are no own numbers: the direction of a call is not known then. */
enum et_rule_direction et_rules_direction(const struct et_rules *rules, const char *from,
					  const char *to);
/* "inbound", ...; "" for 0: static. */
const char *et_rule_direction_text(enum et_rule_direction d);
const char *et_rule_action_text(enum et_rule_action a); /* "record", "skip", "on-demand" */

/* Are key presses of a call for which `rule` fired (-1: the default) dropped? */
bool et_rules_drop_digits(const struct et_rules *rules, int rule);

/* What becomes of tones in a call for which `rule` fired (-1: the default); never DEFAULT. */
enum et_rule_tones et_rules_tones(const struct et_rules *rules, int rule);
const char *et_rule_tones_text(enum et_rule_tones t); /* "keep", ...; "" for DEFAULT */

/* How keys pause a call for which `rule` fired; NULL: they do not. Borrowed from `rules`. */
const struct et_rule_pause *et_rules_pause(const struct et_rules *rules, int rule);

/* The ring of a call for which `rule` fired; NULL: it is recorded, or not. Borrowed from `rules`.
 */
const struct et_rule_ring *et_rules_ring(const struct et_rules *rules, int rule);

/* The last keys that somebody pressed. Zero-initialised is none. */
struct et_rule_presses {
	char keys[ET_RULE_KEYS_MAX];
	uint8_t count;
	int64_t last_us;
};

/* Somebody pressed `key` (0-9 * # A-D). */
void et_rule_press(struct et_rule_presses *p, char key, int64_t at_us);
/* Are the last keys `sequence` ("": never)? true: all are forgotten. */
bool et_rule_pressed(struct et_rule_presses *p, const char *sequence);
/* Does one of them end with the other? Then who presses the one presses the other, too. */
bool et_rule_keys_collide(const char *a, const char *b);

/* Is it 1 to 8 keys? */
bool et_rule_keys_check(const char *text);

bool et_rules_have_sample(const struct et_rules *rules);

/* Which calls a share of them takes: the first eight bytes (big-endian) of the SHA-256 of the
 * Call-ID, modulo ET_RULE_SAMPLE_ALL, is less than the share. So every node and every replay takes
 * the same calls, and a larger share takes those of a smaller one too. */
uint64_t et_rule_sample(const uint8_t sha256[32]);

/* Is it one of the three forms? false, and *ret_why a static clause about what is wrong. */
bool et_rule_number_check(const char *text, const char **ret_why);
bool et_rule_number_fits(const struct et_rule_number *n, const char *number);

/* Does the shell pattern fit the whole text? At most pattern times text steps. */
bool et_rule_glob(const char *pattern, const char *text, size_t text_size, bool ignore_case);

#endif
