et_module(archive/mover
    SOURCES common.c evict.c mover.c plan.c read.c restore.c rules.c source.c upload.c
    USES node/base node/io node/crypto node/tape raft/command raft/state archive/bucket archive/pack archive/policy
    TESTS mover seals s3)
