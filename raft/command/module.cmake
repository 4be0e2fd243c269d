# command.proto -> generated/raft/command/command.pb-c.{h,c}: part of this library, so that whoever
# links it is compiled after the header is there. Generated code answers to no warning flags of ours;
# but its ET__*__INIT macros expand in our code, where their casts must not drop a const. Names and
# style of the header are the generator's: clang-tidy is told so.
set(pb "${PROJECT_BINARY_DIR}/generated/raft/command/command.pb-c")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/generated")
add_custom_command(OUTPUT "${pb}.c" "${pb}.h"
    COMMAND ${PROTOC_C} "--c_out=${PROJECT_BINARY_DIR}/generated" "-I${PROJECT_SOURCE_DIR}"
            "${PROJECT_SOURCE_DIR}/raft/command/command.proto"
    COMMAND sed -i -e "s/(char [*])protobuf_c_empty_string/(char *)(uintptr_t)protobuf_c_empty_string/g"
            -e "1i // NOLINTBEGIN" -e "$a // NOLINTEND" "${pb}.h"
    DEPENDS "${PROJECT_SOURCE_DIR}/raft/command/command.proto" VERBATIM)
set_source_files_properties("${pb}.c" PROPERTIES COMPILE_OPTIONS "-w")

et_module(raft/command
    SOURCES command.c check.c scan.c rules.c entry.c schema.c "${pb}.c" "${pb}.h"
    USES node/base
    LIBRARIES PkgConfig::protobufc
    TESTS command entry
    FUZZERS command entry)
