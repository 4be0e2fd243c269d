et_module(replication/plan
    SOURCES plan.c
    USES node/base
    TESTS plan)
