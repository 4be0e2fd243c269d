#ifndef ET_BENCH_SEARCH_RUN_H
#define ET_BENCH_SEARCH_RUN_H

/* The exit status: 0; 1: it could not be measured; 2: usage; 9: the two answered differently. */
int bench_search_run(int argc, char **argv);

#endif
