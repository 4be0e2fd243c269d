et_program(labdamage cluster-tests/harness/damage
    SOURCES damage.c
    USES node/base raft/state)
