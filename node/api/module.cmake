# The console's files and the API's description become part of the program.
file(GLOB console_files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/node/api/console/*.*")
list(APPEND console_files "${PROJECT_SOURCE_DIR}/node/api/openapi.yaml")
set(console_c "${PROJECT_BINARY_DIR}/generated/node/api/console_files.c")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/generated/node/api")
add_custom_command(OUTPUT "${console_c}"
    COMMAND "${CMAKE_COMMAND}" "-DOUT=${console_c}" "-DFILES=${console_files}"
            -P "${PROJECT_SOURCE_DIR}/node/api/embed.cmake"
    DEPENDS ${console_files} "${PROJECT_SOURCE_DIR}/node/api/embed.cmake" VERBATIM)

et_module(node/api
    SOURCES api.c server.c operator.c call.c pieces.c pool.c access.c routes.c request.c json.c status.c health.c
        metrics.c admin.c sites.c ask.c members.c raft.c holdings.c losses.c
        survey.c survives.c recordings.c told.c audio.c sound.c original.c tones.c proof.c archive.c targets.c policies.c why.c console.c
        upgrade.c erase.c redact.c late_keys.c import.c stream.c certificate.c holds.c retention.c backup.c keys.c ca.c tokens.c legs.c "${console_c}" pause.c keep.c
        replication.c repair.c
    USES node/base node/io node/crypto node/text node/rule node/tls node/tape node/audio node/playback node/medium node/keeper
        raft/command raft/state raft/catalog raft/backup replication/sync replication/limit archive/policy archive/bucket archive/mover
    LIBRARIES PkgConfig::lws PkgConfig::ssl PkgConfig::crypto
    TESTS request api member nodes told holds pause keep survives stream
    TEST_USES raft/journal node/root
    TEST_LIBRARIES PkgConfig::curl
    FUZZERS request)
