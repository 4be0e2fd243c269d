et_module(raft/backup
    SOURCES backup.c reader.c ledger.c
    USES node/base node/io node/crypto
    TESTS backup ledger
    FUZZERS backup ledger)
