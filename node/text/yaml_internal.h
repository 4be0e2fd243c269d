/* Between yaml.c, which makes a document, and yaml_read.c, which reads values out of it. */
#ifndef ET_NODE_TEXT_YAML_INTERNAL_H
#define ET_NODE_TEXT_YAML_INTERNAL_H

#include "node/text/yaml.h"

/* The name that errors begin with; a view. */
const char *et_yaml_document_name(const struct et_yaml *y);

#endif
