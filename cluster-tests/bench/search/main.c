#include "cluster-tests/bench/search/run.h"

int main(int argc, char **argv)
{
	return bench_search_run(argc, argv);
}
