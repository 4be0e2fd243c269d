/* Unpack the ustar stream of an original export (POSIX.1-1988, pax "ustar Interchange Format").
 *
 * Foreign bytes: only regular files are made, under plain names (no '/', not beginning with '.'),
 * in a folder of their own; checksums are verified; nothing is overwritten.
 *
 * Threads: pure, but for the files. */
#ifndef ET_OPS_CLI_UNTAR_H
#define ET_OPS_CLI_UNTAR_H

#include <stdio.h>

#include "node/base/err.h"

/* Into the folder `out`, which is made if it is not there. ET_EMALFORMED, ET_ETRUNCATED, -EEXIST.
 */
int et_untar(FILE *f, const char *out, struct et_error *reterr) ET_MUST_CHECK;

#endif
