et_program(evertaped node/daemon
    SOURCES backend.c metrics.c daemon.c events.c keys.c locked.c live.c member_plan.c membership.c notify.c proposer.c recover.c setup.c start.c
            status.c stop.c store.c wait.c ask.c picture.c reload.c tell.c pause.c keep.c late.c sealer.c import.c agents.c replication.c
            backup.c pitr.c retention.c restore.c restore_ledger.c restore_log.c
    USES node/base node/io node/crypto node/text node/rule node/root node/config node/tls raft/command raft/state raft/journal
         raft/catalog raft/backup archive/policy archive/bucket node/tape node/capture node/import node/medium node/keeper replication/sync replication/limit archive/mover node/api
    LIBRARIES PkgConfig::uv PkgConfig::systemd
    TESTS proposer events notify member_plan restore_ledger retention)
