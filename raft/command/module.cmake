set(pb "${PROJECT_BINARY_DIR}/generated/raft/command/command.pb-c")
add_custom_command(OUTPUT "${pb}.c" "${pb}.h"
    COMMAND ${CMAKE_COMMAND} -E make_directory "${PROJECT_BINARY_DIR}/generated"
    COMMAND ${PROTOC_C} "--c_out=${PROJECT_BINARY_DIR}/generated" "-I${PROJECT_SOURCE_DIR}"
            "${PROJECT_SOURCE_DIR}/raft/command/command.proto"
    DEPENDS "${PROJECT_SOURCE_DIR}/raft/command/command.proto" VERBATIM)
set_source_files_properties("${pb}.c" PROPERTIES COMPILE_OPTIONS "-w")
add_library(raft_command_generated OBJECT "${pb}.c" "${pb}.h")
target_link_libraries(raft_command_generated PRIVATE et_flags PkgConfig::protobufc)
