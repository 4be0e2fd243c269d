/* The table's rooms, and options that commands of more than one of them take.
 *
 * A room is an array of commands that ends with a NULL path; table.c has their order. */
#ifndef ET_OPS_CLI_TABLE_INTERNAL_H
#define ET_OPS_CLI_TABLE_INTERNAL_H

#include "ops/cli/cli.h"

extern const struct et_cli_command table_cluster[];   /* status, the cluster, its nodes and sites */
extern const struct et_cli_command table_capture[];   /* what comes from the wire */
extern const struct et_cli_command table_recording[]; /* recordings, and what is told of them */
extern const struct et_cli_command table_keeping[];   /* holds, retention, replication, archive */
extern const struct et_cli_command table_trust[];     /* keys, certificates, audit, configuration */

#define OPTIONS(...) ((const struct et_cli_option[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } })

#define REASON                                                                                     \
	{                                                                                          \
		"reason", "TEXT", "why; goes into the audit log", NULL                             \
	}

#define SPAN                                                                                       \
	{ "from", "DURATION", "since the beginning; default 0s", NULL },                           \
	{                                                                                          \
		"to", "DURATION", "since the beginning; default: to the end", NULL                 \
	}
#define REASON_OR_PLAN                                                                             \
	{                                                                                          \
		"reason", "TEXT", "why; goes to the audit log (needed without --plan)", NULL       \
	}
#define OUT                                                                                        \
	{                                                                                          \
		"out", "FILE", "where to (needed)", NULL                                           \
	}
#define CONFIG                                                                                     \
	{                                                                                          \
		"config", "FILE", "default /etc/evertape/evertape.yaml", NULL                      \
	}
#define ESCROW                                                                                     \
	{                                                                                          \
		"escrow", "K/N", "K of N shares open the escrow; default 3/5", NULL                \
	}
#define MEMBER                                                                                     \
	{                                                                                          \
		"node", "NODE...", "this member, by its name; with a port: whom to ask", NULL      \
	}

/* Which calls. */
#define CALLS                                                                                      \
	{ "since", "TIME", "started at or after", NULL },                                          \
		{ "until", "TIME", "started before", NULL },                                       \
		{ "number", "TEXT", "caller or called; 4930* is a prefix, *4711 a suffix", NULL }, \
		{ "site", "NAME", "captured at this site", NULL },                                 \
	{                                                                                          \
		"call-id", "TEXT", "SIP Call-ID", NULL                                             \
	}

#endif
