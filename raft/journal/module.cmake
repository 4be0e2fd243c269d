et_module(raft/journal
    SOURCES journal.c file.c
    USES node/base node/io raft/command
    TESTS journal
    FUZZERS journal)
