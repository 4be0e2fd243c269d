/* S3 requests on libcurl: signed, several at a time, repeated where that may help.
 *
 * Happy path: fill in a request, run it; the answer's status, headers and (bounded) body are in it,
 * or its content went to the sink.
 *
 * What is guarded (each measured against real servers or found in their sources):
 *   - a truncated answer is an error: libcurl counts what Content-Length promised;
 *   - content goes to the sink only after a status and Content-Range that fit; error pages never
 * do;
 *   - 200 with an <Error> document is a failure;
 *   - redirects are not followed: a signed request is for one host;
 *   - a body can be rewound (a reused connection that was closed meanwhile), or the attempt starts
 *     again;
 *   - no byte for stall_ms ends the attempt (libcurl's own low-speed limit measured 16 s for 10 s);
 *   - a clock that is wrong by more than the server allows: its Date is taken, once;
 *   - proxies of the environment are not used: what is configured is what is talked to.
 *
 * Threads: one thread; s3_http_wake() any. */
#ifndef ET_ARCHIVE_BUCKET_S3_HTTP_H
#define ET_ARCHIVE_BUCKET_S3_HTTP_H

#include <curl/curl.h>

#include "archive/bucket/bucket_internal.h"
#include "archive/bucket/s3_sign.h"

#define S3_HEADERS_MAX 16
#define S3_BODY_MAX ((size_t)64 * 1024) /* bytes of an error that are kept */

struct s3_http {
	/* Private. */
	const struct bucket_settings *settings; /* borrowed */
	atomic_bool *cancelled;			/* borrowed */
	struct et_credentials credentials;	/* owned */
	CURLM *multi;				/* owned */
	int64_t skew_us;  /* the server's clock minus ours, once it complained */
	int64_t apart_us; /* the same, as of the last answer with a date */
	bool apart_known;
};

struct s3_answer {
	long status; /* 0: none */
	char etag[96];
	char storage_class[32];
	char lock_mode[16];
	char lock_until[40];
	char legal_hold[8];
	char content_range[64];
	char region[64];	/* x-amz-bucket-region */
	char version[128];	/* x-amz-version-id */
	int64_t content_length; /* -1: not given */
	int64_t date_us;	/* 0: none */
	uint32_t retry_after_ms;
};

struct s3_request {
	/* Filled in by the caller; borrowed. */
	const char *method;			  /* GET, PUT, HEAD, DELETE */
	const char *name;			  /* of the object; NULL: the bucket */
	const char *query;			  /* encoded and sorted; NULL: none */
	struct s3_header headers[S3_HEADERS_MAX]; /* lower case; besides those made here; sorted */
	size_t header_count;
	struct et_bucket_put *put; /* its content is the body; NULL: `body` */
	struct et_view body;
	/* GET of a range: exactly these bytes go to the sink. */
	bool ranged;
	uint64_t offset;
	uint64_t length;
	char if_match[100]; /* "" or the ETag that the object must have; filled in by the first
			       answer */
	et_bucket_sink sink;
	void *sink_arg;
	size_t body_max; /* of an answer that is kept; 0: S3_BODY_MAX */

	/* Result. */
	int code;		  /* 0: a 2xx answer, whole */
	struct et_error error;	  /* when code != 0 */
	char s3_code[64];	  /* "NoSuchKey"; "" when the server gave none */
	struct s3_answer answer;  /* of the last attempt */
	struct et_buffer content; /* of the last attempt, when there is no sink; owned */
	uint32_t attempts;

	/* Private. */
	struct s3_http *http;
	CURL *easy;		 /* while an attempt runs */
	struct curl_slist *list; /* its headers */
	uint64_t delivered;	 /* to the sink */
	uint64_t sent;		 /* of the body, this attempt */
	int local_code;		 /* what sink or source said */
	int64_t not_before_us;	 /* monotonic: the next attempt */
	int64_t progress_us;	 /* monotonic: when a byte last moved */
	curl_off_t progress_bytes;
	int64_t signed_us; /* the time in the signature */
	bool skew_tried;
	bool range_ok; /* the headers of this answer fit the range */
	bool finished;
};

/* `credentials` are taken over. */
int s3_http_init(struct s3_http *h, const struct bucket_settings *settings, atomic_bool *cancelled,
		 struct et_credentials *credentials, struct et_error *reterr) ET_MUST_CHECK;
void s3_http_release(struct s3_http *h);
void s3_http_wake(struct s3_http *h);

/* Run all, up to `parallel` at a time; each has its own result. */
void s3_http_run(struct s3_http *h, struct s3_request **requests, size_t count, uint32_t parallel);
/* One. Returns its code, and its error. */
int s3_http_one(struct s3_http *h, struct s3_request *r, struct et_error *reterr) ET_MUST_CHECK;

void s3_request_release(struct s3_request *r);

/* Add a header in its place. */
void s3_request_header(struct s3_request *r, const char *name, const char *value);

/* ---- Private to s3_http.c and s3_judge.c ---- */

enum s3_verdict { S3_DONE, S3_AGAIN, S3_FAILED };

/* What came of an attempt: sets code, error and s3_code, and says whether to try again. */
enum s3_verdict s3_judge(struct s3_request *r, CURLcode result);

/* One header line of an answer, without its end. */
void s3_answer_line(struct s3_answer *a, const char *line, size_t size);
/* Do status and Content-Range fit the range that was asked for? */
bool s3_answer_is_range(const struct s3_answer *a, uint64_t offset, uint64_t length);

#endif
