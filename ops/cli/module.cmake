if(NOT EXISTS "${PROJECT_SOURCE_DIR}/archive/policy/module.cmake")
    return() # `archive policy validate` needs it
endif()

# `capture replay` runs the recorder's own engine.
set(replay_sources)
set(replay_uses)
if(EXISTS "${PROJECT_SOURCE_DIR}/ops/cli/cmd_replay.c")
    set(replay_sources cmd_replay.c replay_wav.c spool.c cmd_look.c look.c cmd_rules.c)
    set(replay_uses node/capture node/keylog node/srtp)
    set_property(SOURCE ops/cli/table_capture.c APPEND PROPERTY COMPILE_DEFINITIONS ET_CLI_REPLAY)
endif()

et_program(evertape ops/cli
    SOURCES cli.c table.c table_cluster.c table_capture.c table_recording.c table_keeping.c table_trust.c help.c output.c http.c codes.c untar.c chain.c certificate.c ids.c cmd_local.c cmd_status.c
        cmd_cluster.c cmd_cert.c cmd_key.c cmd_node.c cmd_recording.c cmd_legs.c cmd_told.c cmd_archive.c cmd_audit.c ${replay_sources}
        cmd_backup.c cmd_keys.c cmd_tape.c cmd_hold.c cmd_erase.c cmd_policy.c cmd_root.c
        cmd_diff.c cmd_targets.c cmd_run.c cmd_restore.c cmd_feed.c cmd_why.c cmd_import.c cmd_site.c cmd_config.c cmd_capture.c
        cmd_replication.c cmd_repair.c
    USES node/base node/io node/crypto node/text node/root node/config node/tape raft/command raft/backup archive/policy archive/bucket ${replay_uses} node/audio node/rule
    LIBRARIES PkgConfig::curl PkgConfig::smartcols
    TESTS cli hints root chain certificate untar tape look spool
    TEST_USES raft/state node/api)
set_property(SOURCE ops/cli/help.c ops/cli/cmd_local.c
    APPEND PROPERTY COMPILE_DEFINITIONS "ET_VERSION=\"${PROJECT_VERSION}\"")
