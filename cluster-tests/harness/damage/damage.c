/* The program is all in main.c; a module has a library. */
#include "raft/state/damage.h"
