/* Certificates of erasure, checked without a cluster (format: ops/doc/formats/erasure.md).
 *
 * A good one proves: who has the key `signed.key` said all that is in it; each erasure that it
 * names stands in an audit event with the hash that the chain's rule gives; the events are one
 * unbroken part of the chain. That the key is that node's, and the part is in the cluster's chain,
 * is for who knows the key and has the log.
 *
 * Threads: pure functions. */
#ifndef ET_OPS_CLI_CERTIFICATE_H
#define ET_OPS_CLI_CERTIFICATE_H

#include "node/text/json.h"

/* ET_EINTEGRITY: anything in it was changed, or does not fit; reterr says what. `signer` (32 bytes)
 * may be NULL: any key. */
int et_certificate_check(const json_t *certificate, const uint8_t *signer,
			 struct et_error *reterr) ET_MUST_CHECK;

/* Do its events stand in this exported log (audit list -o ndjson, or json), which must verify?
 * `name` is for messages. ET_EINTEGRITY: they do not, or the log is broken. */
int et_certificate_in_log(const json_t *certificate, const char *name, const char *text,
			  size_t size, struct et_error *reterr) ET_MUST_CHECK;

#endif
