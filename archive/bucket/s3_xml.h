/* The two XML answers of S3 that matter: an error, and a page of a list.
 *
 * The input is hostile: its size is bounded by the caller, its depth and text lengths here, and a
 * document type declaration (the only way to define entities) ends the reading.
 *
 * Threads: pure functions. */
#ifndef ET_ARCHIVE_BUCKET_S3_XML_H
#define ET_ARCHIVE_BUCKET_S3_XML_H

#include "node/base/bytes.h"
#include "node/base/err.h"

#define S3_XML_SIZE_MAX ((size_t)4 * 1024 * 1024) /* bytes: 1000 entries of 4 KiB */

struct s3_xml_error {
	char code[64];	   /* "SlowDown"; "" when it is no error document */
	char message[192]; /* printable ASCII, cut */
	char region[64];   /* where the bucket lies, if it says so */
};

/* Is this an <Error> document? false and zeros when it is anything else. */
bool s3_xml_error(const void *data, size_t size, struct s3_xml_error *ret);

struct s3_xml_page {
	bool truncated;	  /* there is more */
	char token[1024]; /* NextContinuationToken, or "" */
	/* For each entry, in order; a non-zero result ends the reading and is returned. */
	int (*fn)(void *arg, const char *key, uint64_t size);
	void *arg;
};

/* Read a ListBucketResult. ET_EMALFORMED: it is not one, whole. Entries before the fault were
 * handed out. */
int s3_xml_list(const void *data, size_t size, struct s3_xml_page *page,
		struct et_error *reterr) ET_MUST_CHECK;

#endif
