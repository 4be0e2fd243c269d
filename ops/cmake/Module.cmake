# et_floor(<n> <folder...>)  names the modules of a floor (called once a floor, in the root).
# et_module(<folder> SOURCES <c...> [USES <folder...>] [LIBRARIES <target...>] [TESTS <name...>]
#           [TEST_USES <folder...>] [TEST_LIBRARIES <target...>] [FUZZERS <name...>])
# et_program(<name> <folder> SOURCES <c...> [USES <folder...>] [LIBRARIES <target...>] ...)
#
# A module is a folder, one static library, and its tests:
#   <folder>/module.cmake        its et_module() call
#   <folder>/*.c, *.h            the library; a header is included as "<folder>/x.h"
#   <folder>/test/test_<name>.c  unit tests, one program each (cmocka), run in <folder>/test
#   <folder>/fuzz/fuzz_<name>.c  libFuzzer targets (ET_FUZZ=ON); fuzz/corpus-<name>/ is their corpus
#   <folder>/fake/               the same headers, another library, linked by tests of upper floors
#
# Three rules hold the building up, and break the configure step when broken:
#   1. everything in USES stands on a lower floor;
#   2. a file includes headers of its own folder and of the folders in USES, no others
#      (tests and fuzzers: also of TEST_USES, which may stand on any lower floor too);
#   3. a *_internal.h is included from its own folder only.

option(ET_FUZZ "Build the libFuzzer targets (clang)" OFF)
set(ET_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")

add_library(et_flags INTERFACE)
target_include_directories(et_flags INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}/generated")
target_compile_definitions(et_flags INTERFACE _GNU_SOURCE)
target_compile_options(et_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wwrite-strings -Wcast-qual -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum
    -fno-strict-aliasing -fstack-protector-strong -fvisibility=hidden)
if(ET_SANITIZE)
    target_compile_options(et_flags INTERFACE -fsanitize=${ET_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all)
    target_link_options(et_flags INTERFACE -fsanitize=${ET_SANITIZE})
else()
    target_compile_definitions(et_flags INTERFACE _FORTIFY_SOURCE=2)
    target_link_options(et_flags INTERFACE -Wl,-z,relro -Wl,-z,now)
endif()
if(ET_FUZZ) # Coverage in every module: a fuzzer must see into the parsers that it calls.
    target_compile_options(et_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(et_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

function(et_floor floor)
    foreach(folder IN LISTS ARGN)
        set_property(GLOBAL PROPERTY "et_floor_${folder}" "${floor}")
        set_property(GLOBAL APPEND PROPERTY et_folders "${folder}")
    endforeach()
endfunction()

function(et_check_includes folder file)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(STRINGS "${file}" lines REGEX "^#[ \t]*include \"")
    foreach(line IN LISTS lines)
        string(REGEX REPLACE "^#[ \t]*include \"(.*)/([^/]*)\".*" "\\1" used "${line}")
        if(NOT used STREQUAL folder AND NOT used IN_LIST ARGN)
            message(FATAL_ERROR "${file}: '${line}', but ${folder} does not USE that module")
        endif()
        if(line MATCHES "_internal\\.h\"" AND NOT used STREQUAL folder)
            message(FATAL_ERROR "${file}: '${line}' is internal to ${used}")
        endif()
    endforeach()
endfunction()

function(et_check_uses folder)
    get_property(own GLOBAL PROPERTY "et_floor_${folder}")
    if(own STREQUAL "")
        message(FATAL_ERROR "${folder} stands on no floor: name it in an et_floor() of the root CMakeLists.txt")
    endif()
    foreach(used IN LISTS ARGN)
        get_property(floor GLOBAL PROPERTY "et_floor_${used}")
        if(floor STREQUAL "" OR NOT floor LESS own)
            message(FATAL_ERROR "${folder} (floor ${own}) may not use ${used} (floor '${floor}')")
        endif()
    endforeach()
endfunction()

function(et_check_files folder)
    cmake_parse_arguments(m "" "" "USES;TEST_USES" ${ARGN})
    file(GLOB files CONFIGURE_DEPENDS "${folder}/*.[ch]" "${folder}/fake/*.[ch]")
    foreach(file IN LISTS files)
        et_check_includes("${folder}" "${file}" ${m_USES})
    endforeach()
    file(GLOB files CONFIGURE_DEPENDS "${folder}/test/*.[ch]" "${folder}/fuzz/*.[ch]")
    foreach(file IN LISTS files)
        et_check_includes("${folder}" "${file}" "${folder}/test" "${folder}/fuzz" ${m_USES} ${m_TEST_USES})
    endforeach()
endfunction()

function(et_tests folder target)
    cmake_parse_arguments(m "" "" "TESTS;TEST_USES;TEST_LIBRARIES;FUZZERS" ${ARGN})
    list(TRANSFORM m_TEST_USES REPLACE "/" "_" OUTPUT_VARIABLE test_uses)
    foreach(name IN LISTS m_TESTS)
        add_executable(test_${target}_${name} "${folder}/test/test_${name}.c")
        target_link_libraries(test_${target}_${name}
            PRIVATE ${target} ${test_uses} et_flags PkgConfig::cmocka ${m_TEST_LIBRARIES})
        add_test(NAME ${folder}/${name} COMMAND test_${target}_${name}
            WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}/test")
        set_tests_properties(${folder}/${name} PROPERTIES LABELS unit TIMEOUT 600)
    endforeach()
    if(ET_FUZZ)
        foreach(name IN LISTS m_FUZZERS)
            add_executable(fuzz_${target}_${name} "${folder}/fuzz/fuzz_${name}.c")
            target_link_options(fuzz_${target}_${name} PRIVATE -fsanitize=fuzzer)
            target_link_libraries(fuzz_${target}_${name} PRIVATE ${target} ${test_uses} et_flags ${m_TEST_LIBRARIES})
            set_property(GLOBAL APPEND PROPERTY et_fuzzers
                "fuzz_${target}_${name}|${PROJECT_SOURCE_DIR}/${folder}/fuzz/corpus-${name}")
        endforeach()
    endif()
endfunction()

function(et_module folder)
    cmake_parse_arguments(m "" "" "SOURCES;USES;LIBRARIES;TESTS;TEST_USES;TEST_LIBRARIES;FUZZERS" ${ARGN})
    string(REPLACE "/" "_" target "${folder}")
    et_check_uses("${folder}" ${m_USES} ${m_TEST_USES})
    et_check_files("${folder}" USES ${m_USES} TEST_USES ${m_TEST_USES})

    list(TRANSFORM m_SOURCES PREPEND "${folder}/" REGEX "^[^/]")
    list(TRANSFORM m_USES REPLACE "/" "_" OUTPUT_VARIABLE uses)
    add_library(${target} STATIC ${m_SOURCES})
    target_link_libraries(${target} PUBLIC ${uses} ${m_LIBRARIES} PRIVATE et_flags)
    et_tests("${folder}" "${target}" TESTS ${m_TESTS} TEST_USES ${m_TEST_USES}
        TEST_LIBRARIES ${m_TEST_LIBRARIES} FUZZERS ${m_FUZZERS})
endfunction()

# A program: a library of its folder (so that tests can link it), and <folder>/main.c.
function(et_program name folder)
    et_module("${folder}" ${ARGN})
    string(REPLACE "/" "_" target "${folder}")
    add_executable(${name} "${folder}/main.c")
    target_link_libraries(${name} PRIVATE ${target} et_flags)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endfunction()

# Every module of the floor plan, lowest floor first.
macro(et_build_all)
    get_property(et_all_folders GLOBAL PROPERTY et_folders)
    foreach(et_folder IN LISTS et_all_folders)
        if(EXISTS "${PROJECT_SOURCE_DIR}/${et_folder}/module.cmake")
            include("${PROJECT_SOURCE_DIR}/${et_folder}/module.cmake")
        endif()
    endforeach()
    if(ET_FUZZ)
        get_property(et_all_fuzzers GLOBAL PROPERTY et_fuzzers)
        string(REPLACE ";" "\n" et_all_fuzzers "${et_all_fuzzers}")
        file(WRITE "${PROJECT_BINARY_DIR}/fuzzers.txt" "${et_all_fuzzers}\n")
    endif()
endmacro()
