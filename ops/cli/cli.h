/* evertape: one command table, from which help, completion, the man page and usage errors come.
 *
 * Happy path: the words are matched against the table, options are checked against the command's
 * own, its handler asks the API (or works without one) and builds one JSON document; `-o` decides
 * how that document is printed. A table is always rendered from the same JSON that `-o json`
 * prints.
 *
 * Data goes to standard output, everything else to standard error. An error is one sentence and the
 * next command to type, or, with -o json or ndjson, an object {schema, code, what, where, why,
 * next}. Exit codes are those of et_exit_code(); status and doctor add 6, plan adds 7.
 *
 * Threads: one. */
#ifndef ET_OPS_CLI_CLI_H
#define ET_OPS_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "node/base/err.h"
#include "node/io/clock.h"
#include "node/text/json.h"

#define ET_CLI_ARGS_MAX 64
#define ET_CLI_OPTIONS_MAX 32
#define ET_CLI_LONG_MS 600000 /* for what reads or writes much */

enum et_cli_format {
	ET_CLI_TABLE,
	ET_CLI_WIDE,
	ET_CLI_JSON,
	ET_CLI_NDJSON,
	ET_CLI_CSV,
	ET_CLI_YAML, /* of commands whose own --output has it */
};

enum { ET_EXIT_DEGRADED = 6, ET_EXIT_CHANGES = 7 };

struct et_cli;

/* How a value is shown in a table; JSON keeps it raw. */
enum et_cli_kind {
	ET_CLI_TEXT,
	ET_CLI_NUMBER,
	ET_CLI_BYTES,  /* "612 GiB" */
	ET_CLI_MS,     /* milliseconds as "03:41" */
	ET_CLI_AGO_MS, /* milliseconds as "4m 10s", "-" for null */
	ET_CLI_TIME,   /* RFC 3339, shown in local time without the fraction */
	ET_CLI_LIST,   /* array of texts, or of objects: joined with commas */
	ET_CLI_COPIES, /* array of copies: where good ones are */
};

struct et_cli_column {
	const char *title;
	const char *key; /* of the row */
	enum et_cli_kind kind;
	bool wide; /* shown with -o wide only */
};

struct et_cli_option {
	const char *name;  /* without "--" */
	const char *value; /* "FILE"; "ROLE...": may be repeated; NULL: a flag */
	const char *help;
	const char *values; /* words for completion, separated by spaces; or NULL */
};

struct et_cli_command {
	const char *path;      /* "recording list" */
	const char *arguments; /* "ID", "FILE...", or "" */
	unsigned min_args;
	unsigned max_args;
	const char *summary;
	const char *details; /* more for its help and man page; or NULL */
	const char *example;
	const struct et_cli_option *options; /* ends with a NULL name; or NULL */
	/* >= 0: the exit code; negative: an error code, with reterr filled. */
	int (*run)(struct et_cli *cli, struct et_error *reterr);
	bool destructive; /* needs --reason */
	bool hidden;	  /* not in the list of commands */
};

/* The table (table.c): the command behind `before`; NULL: the first, or no more. */
const struct et_cli_command *et_cli_next(const struct et_cli_command *before);
#define ET_CLI_EACH(c)                                                                             \
	for (const struct et_cli_command *c = et_cli_next(NULL); c != NULL; c = et_cli_next(c))
/* Options that every command takes. */
extern const struct et_cli_option et_cli_globals[];

/* What one run of the program knows. Text is a view of argv. */
struct et_cli {
	const struct et_cli_command *command;
	const char *args[ET_CLI_ARGS_MAX];
	unsigned arg_count;
	struct {
		const struct et_cli_option *option;
		const char *value; /* "" for a flag */
	} options[ET_CLI_OPTIONS_MAX];
	unsigned option_count;

	enum et_cli_format format;
	bool quiet;
	bool verbose;
	bool color;
	long timeout_ms;
	const char *cluster;	/* expected name, or NULL */
	const char *node;	/* "host:port" for HTTPS, or NULL: the socket */
	const char *socket;	/* path */
	const char *token_file; /* or NULL */
	const char *ca;
	const char *cluster_ca;
	const char *pin;
	bool asked; /* a node was asked: errors say which */
	FILE *out;
	FILE *err;
};

/* The whole program: returns the exit code. */
int et_cli_main(int argc, char **argv, FILE *out, FILE *err);

/* An option's value ("" for a flag), or NULL when it was not given. */
const char *et_cli_option(const struct et_cli *cli, const char *name);
/* The members that --node names (without a port) of a command that takes it so; NULL: no more. */
const char *et_cli_member(const struct et_cli *cli, unsigned which);
/* The values of a repeatable option, split at commas too: a new array, empty when not given. */
json_t *et_cli_option_list(const struct et_cli *cli, const char *name);
/* A usage error (ET_EUSAGE) that ends with how to get help. */
int et_cli_usage(const struct et_cli *cli, struct et_error *reterr, const char *fmt, ...)
	ET_PRINTF(3, 4);

/* The options --from and --to, times since the beginning: 0 and UINT32_MAX when not given. */
int et_cli_span(struct et_cli *cli, uint32_t *ret_from_ms, uint32_t *ret_to_ms,
		struct et_error *reterr);

/* ---- Help (help.c): all of it from the table ---- */
void et_cli_help(const struct et_cli *cli, FILE *f, const char *path); /* "": everything */
int et_cli_completion(const char *shell, FILE *f); /* ET_EUSAGE: no such shell */
int et_cli_man(const char *page, FILE *f); /* roff: evertape(1), evertape.yaml(5); ET_EUSAGE */

/* ---- Output (output.c) ---- */

/* Print `document`; for tables its array `rows` (NULL: the document itself) by `columns`, which end
 * with a NULL title. */
int et_cli_print(struct et_cli *cli, const json_t *document, const char *rows,
		 const struct et_cli_column *columns, struct et_error *reterr) ET_MUST_CHECK;
/* Print an object as "key  value" lines; JSON formats as they are. */
int et_cli_print_object(struct et_cli *cli, const json_t *document,
			struct et_error *reterr) ET_MUST_CHECK;
/* True when the document itself is to be printed, not a rendering of it. */
bool et_cli_is_json(const struct et_cli *cli);
void et_cli_print_json(struct et_cli *cli, const json_t *document);
void et_cli_print_error(struct et_cli *cli, const struct et_error *e);
/* One value as a table shows it, into `text`. */
void et_cli_format_value(const json_t *value, enum et_cli_kind kind, struct et_buffer *ret);
/* Text from elsewhere, safe for a terminal: control characters are shown as '?'. */
void et_cli_add_safe(struct et_buffer *b, const char *text);
/* A note on standard error, unless -q. */
void et_cli_note(struct et_cli *cli, const char *fmt, ...) ET_PRINTF(2, 3);

/* Let `fn` write the file `out`: by way of `out`.part, so that what breaks leaves no file that
 * looks whole. Durable, its name too, when it returns 0. */
int et_cli_write_file(const char *out, int (*fn)(void *arg, FILE *f, struct et_error *reterr),
		      void *arg, struct et_error *reterr) ET_MUST_CHECK;

/* ---- The API (http.c) ---- */

/* Ask and take the JSON answer: *ret (may be NULL) is the caller's. `body` may be NULL. An error
 * answer becomes its code and text; no connection: ET_EUNREACHABLE with the likely cause. */
int et_cli_get(struct et_cli *cli, const char *path, json_t **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
int et_cli_send(struct et_cli *cli, const char *method, const char *path, const json_t *body,
		json_t **ret, struct et_error *reterr) ET_MUST_CHECK;
/* POST a text that is no JSON. It may be a secret: nothing here copies it. */
int et_cli_send_text(struct et_cli *cli, const char *path, struct et_view text, json_t **ret,
		     struct et_error *reterr) ET_MUST_CHECK;
/* POST a body of any size, which is read as it is sent. `read`: exactly `size` bytes in all, or a
 * negative code, which is returned. No timeout but --timeout. */
struct et_cli_upload {
	uint64_t size;
	ssize_t (*read)(void *arg, void *data, size_t size);
	void *arg;
};
int et_cli_send_file(struct et_cli *cli, const char *path, const struct et_cli_upload *upload,
		     json_t **ret, struct et_error *reterr) ET_MUST_CHECK;
/* What the head of audio says: whether all of the recording is in it. */
struct et_cli_audio {
	bool complete;
	bool masked;	       /* key presses are silence: its rule says so */
	bool concealed;	       /* what was lost is made up: */
	uint64_t concealed_ms; /* so much of it, of both sides */
	char problem[256];
};
/* Write the answer's body to `f`; no limit on the whole, --timeout on standing still. */
int et_cli_download(struct et_cli *cli, const char *path, FILE *f, struct et_cli_audio *ret,
		    struct et_error *reterr) ET_MUST_CHECK;
/* As above into the file `out`, by et_cli_write_file(). */
int et_cli_download_file(struct et_cli *cli, const char *path, const char *out,
			 struct et_cli_audio *ret, struct et_error *reterr) ET_MUST_CHECK;
/* Add "?key=value" or "&key=value", escaped; nothing when value is NULL. */
void et_cli_query(struct et_buffer *path, const char *key, const char *value);
/* The request `base` with the search options that were given, `words`: the arguments, too; ends
 * with NUL (cmd_recording.c). */
int et_cli_search_path(struct et_cli *cli, const char *base, bool words, struct et_buffer *path,
		       struct et_error *reterr) ET_MUST_CHECK;
/* A time option (RFC 3339, a date, or an age such as 2h) as RFC 3339 in `text`; *ret is NULL when
 * it was not given. */
int et_cli_time_option(struct et_cli *cli, const char *name, char text[ET_TIME_TEXT_SIZE],
		       const char **ret, struct et_error *reterr) ET_MUST_CHECK;
/* How long to wait for an answer when --timeout does not say. */
void et_cli_patience(struct et_cli *cli, long timeout_ms);
/* The code for a name such as "ET_ENOTFOUND" or "EACCES"; -EIO when it is none. */
int et_cli_code_of(const char *name);

/* A whole number that may be a policy's revision (cmd_policy.c). */
bool et_cli_is_revision(const char *text);

/* ---- Ids (ids.c) ---- */

/* The UUID `given`, as it is written; otherwise a usage error that says it is no `what`. */
int et_cli_id(const struct et_cli *cli, const char *given, const char *what,
	      char ret[ET_UUID_TEXT_SIZE], struct et_error *reterr) ET_MUST_CHECK;
/* Add the recordings of all arguments from `first` on and of --recording to the array `ids`; "-" is
 * standard input. */
int et_cli_ids(struct et_cli *cli, unsigned first, json_t *ids,
	       struct et_error *reterr) ET_MUST_CHECK;
/* Add those that standard input names, in any format that recording list and search print, or one a
 * line. ET_EUSAGE: something in it names none, so that one might be forgotten. */
int et_cli_ids_stdin(json_t *ids, struct et_error *reterr) ET_MUST_CHECK;

/* ---- The engine without a node (cmd_replay.c) ---- */

struct et_capture_packets;
struct et_capture_config;
json_t *et_cli_packets_json(const struct et_capture_packets *p); /* a new object */
/* The ports of --sip-port. */
int et_cli_sip_ports(struct et_cli *cli, struct et_capture_config *config,
		     struct et_error *reterr) ET_MUST_CHECK;

/* ---- Handlers, by file ---- */
typedef int et_cli_handler(struct et_cli *cli, struct et_error *reterr);
et_cli_handler et_cli_status, et_cli_doctor; /* cmd_status.c */
et_cli_handler et_cli_explain, et_cli_version, et_cli_completion_cmd, et_cli_man_cmd,
	et_cli_config_check, et_cli_config_defaults; /* cmd_local.c */
et_cli_handler et_cli_cluster_init, et_cli_cluster_show, et_cli_node_list, et_cli_node_token,
	et_cli_node_join, et_cli_site_list, et_cli_site_set, et_cli_token_create, et_cli_token_list,
	et_cli_token_revoke, et_cli_capture_list, et_cli_replication_lag; /* cmd_cluster.c */
et_cli_handler et_cli_site_remove;					  /* cmd_site.c */
et_cli_handler et_cli_config_show, et_cli_config_diff;			  /* cmd_config.c */
et_cli_handler et_cli_capture_show;					  /* cmd_capture.c */
et_cli_handler et_cli_replication_queue, et_cli_replication_limit;	  /* cmd_replication.c */
et_cli_handler et_cli_replication_scrub, et_cli_replication_repair;	  /* cmd_repair.c */
et_cli_handler et_cli_key_status, et_cli_key_rotate, et_cli_key_schedule, et_cli_key_rewrap,
	et_cli_key_compromise, et_cli_key_keep, et_cli_key_escrow; /* cmd_key.c */
et_cli_handler et_cli_root_show, et_cli_root_change;		   /* cmd_root.c */
et_cli_handler et_cli_node_show, et_cli_node_promote, et_cli_node_demote, et_cli_node_drain,
	et_cli_node_undrain, et_cli_node_remove, et_cli_raft_peers, et_cli_raft_transfer,
	et_cli_raft_snapshot, et_cli_raft_recover; /* cmd_node.c */
et_cli_handler et_cli_recording_list, et_cli_recording_show, et_cli_recording_play,
	et_cli_recording_export, et_cli_recording_verify, et_cli_recording_where,
	et_cli_recording_pause, et_cli_recording_resume,
	et_cli_recording_keep;					      /* cmd_recording.c */
et_cli_handler et_cli_tape_verify, et_cli_proof, et_cli_verify_proof; /* cmd_tape.c */
et_cli_handler et_cli_recording_fact, et_cli_recording_tag, et_cli_recording_note,
	et_cli_recording_told, et_cli_agent_list, et_cli_agent_at,
	et_cli_agent_set; /* cmd_told.c */
et_cli_handler et_cli_archive_plan, et_cli_archive_apply, et_cli_archive_status,
	et_cli_archive_verify;				       /* cmd_archive.c */
et_cli_handler et_cli_targets_list, et_cli_targets_test;       /* cmd_targets.c */
et_cli_handler et_cli_policy_list, et_cli_retention_list;      /* cmd_policy.c */
et_cli_handler et_cli_policy_diff;			       /* cmd_diff.c */
et_cli_handler et_cli_recording_why, et_cli_retention_explain; /* cmd_why.c */
et_cli_handler et_cli_archive_restore;			       /* cmd_restore.c */
et_cli_handler et_cli_archive_run;			       /* cmd_run.c */
et_cli_handler et_cli_audit_tail, et_cli_audit_export, et_cli_events,
	et_cli_metrics; /* cmd_feed.c */
et_cli_handler et_cli_policy_validate, et_cli_policy_apply, et_cli_policy_show,
	et_cli_retention_validate, et_cli_retention_apply, et_cli_retention_show; /* cmd_policy.c */
et_cli_handler et_cli_cluster_backup, et_cli_backup_list, et_cli_backup_verify,
	et_cli_cluster_restore;				  /* cmd_backup.c */
et_cli_handler et_cli_upgrade_plan, et_cli_upgrade_apply; /* cmd_backup.c */
et_cli_handler et_cli_hold_add, et_cli_hold_list, et_cli_hold_show, et_cli_hold_release,
	et_cli_retention_plan;						   /* cmd_hold.c */
et_cli_handler et_cli_cert_list, et_cli_cert_renew, et_cli_cert_rotate_ca; /* cmd_cert.c */
et_cli_handler et_cli_recording_erase, et_cli_recording_certificate;	   /* cmd_erase.c */
et_cli_handler et_cli_recording_join, et_cli_recording_split;		   /* cmd_legs.c */
et_cli_handler et_cli_recording_redact;					   /* cmd_tape.c */
et_cli_handler et_cli_recording_keys_add;				   /* cmd_keys.c */
et_cli_handler et_cli_recording_import;					   /* cmd_import.c */
et_cli_handler et_cli_audit_list, et_cli_audit_verify;			   /* cmd_audit.c */
et_cli_handler et_cli_capture_replay;					   /* cmd_replay.c */
et_cli_handler et_cli_capture_test;					   /* cmd_look.c */
et_cli_handler et_cli_capture_explain;					   /* cmd_rules.c */

#endif
