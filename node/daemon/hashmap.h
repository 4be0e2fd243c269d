/* uthash, with the warnings of its macros set aside. */
#ifndef ET_NODE_DAEMON_HASHMAP_H
#define ET_NODE_DAEMON_HASHMAP_H

#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#include <uthash.h>

#endif
