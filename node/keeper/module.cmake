et_module(node/keeper
    SOURCES admit.c backup.c ca.c escrow.c generations.c generations_look.c generations_make.c grants.c init.c keeper.c keys.c members.c open.c pb.c renew.c rewrap.c rotate.c rotate_keys.c rotate_escrow.c sealing.c secrets.c verify.c
    USES node/base node/io node/crypto node/root node/tls node/tape raft/command raft/state raft/catalog raft/backup
    LIBRARIES PkgConfig::uv
    TESTS material keeper rotate sealing generations
    FUZZERS sealing)
