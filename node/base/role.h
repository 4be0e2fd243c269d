/* Names, and what a node is for.
 *
 * Roles are bits; in configuration and catalogue they are words ("voter", "vault", ...). */
#ifndef ET_NODE_BASE_ROLE_H
#define ET_NODE_BASE_ROLE_H

#include <stdbool.h>

#define ET_NAME_MAX 63 /* bytes of a name: as in a DNS label */

/* A cluster, site, node, rule or target name: 1 to ET_NAME_MAX of [a-z0-9-], no dash at an end. */
bool et_name_is_valid(const char *name);

enum et_role {
	ET_ROLE_VOTER = 1,
	ET_ROLE_STANDBY = 2,
	ET_ROLE_SPARE = 4,
	ET_ROLE_WITNESS = 8, /* a voter without media and keys */
	ET_ROLE_VAULT = 16,  /* may open recordings */
	ET_ROLE_CAPTURE = 32,
	ET_ROLE_API = 64,
};
#define ET_ROLES_ALL 127U
#define ET_ROLES 7

#endif
