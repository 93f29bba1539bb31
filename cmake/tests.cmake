include(GoogleTest)
find_package(GTest REQUIRED)

# Unit tests sit beside their source (rope.cpp, rope_test.cpp); whole-program tests sit under tests/.
# SHARDS n: as n tests of ctest, where loading LibTorch anew for each of a thousand tests would take longer than they do.
# Tests run side by side, so each computes on one thread: two of two threads on two cores wait for each other most of the
# time (370 s and not 214). threads.2 and threads.3, below, compute on more.
set(GRAFT_ONE_THREAD OMP_NUM_THREADS=1)
# What each test program says of its tests; tests/hygiene/skipped lists the skipped ones. Tests that are run again below
# in another way say nothing there.
set(GRAFT_RESULTS ${CMAKE_BINARY_DIR}/results)
function(graft_test_binary name)
  cmake_parse_arguments(arg "" "SHARDS" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  # Half of what a test takes to compile is headers, and what GCC makes of a precompiled one in every file.
  graft_batches(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} GTest::gtest GTest::gmock GTest::gtest_main)
  graft_opens_parquet(${name})
  # What is tested is optimised; tests themselves take two thirds of the time to compile when they are not.
  target_compile_options(${name} PRIVATE -O0)
  target_compile_definitions(${name} PRIVATE GRAFT_SOURCE_DIR="${CMAKE_SOURCE_DIR}" GRAFT_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(NOT arg_SHARDS)
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST XML_OUTPUT_DIR ${GRAFT_RESULTS}/${name}
      PROPERTIES TIMEOUT 600 ENVIRONMENT ${GRAFT_ONE_THREAD})
    return()
  endif()
  math(EXPR last "${arg_SHARDS} - 1")
  foreach(shard RANGE ${last})
    add_test(NAME ${name}.${shard}
      COMMAND ${name} --gtest_output=xml:${GRAFT_RESULTS}/${name}.${shard}.xml)
    set_tests_properties(${name}.${shard} PROPERTIES TIMEOUT 1200
      ENVIRONMENT "${GRAFT_ONE_THREAD};GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()

file(GLOB hygiene_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/hygiene/*_test.cpp)
file(GLOB metrics_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/golden/*_test.cpp)
graft_test_binary(graft_core_tests SOURCES ${core_tests} ${hygiene_tests} ${metrics_tests} LIBRARIES graft_core)
target_precompile_headers(graft_core_tests PRIVATE ${CMAKE_SOURCE_DIR}/cmake/core_tests_pch.h)
# Reads texts and writes ids: what the parity test and the benchmark compare with the reference.
add_executable(graft_tokenizer_dump ${CMAKE_SOURCE_DIR}/tests/compat/tokenizer_dump.cpp)
target_link_libraries(graft_tokenizer_dump PRIVATE graft_core)
# Reads generated texts with their references and writes scores, likewise.
add_executable(graft_metrics_dump ${CMAKE_SOURCE_DIR}/tests/compat/metrics_dump.cpp)
target_link_libraries(graft_metrics_dump PRIVATE graft_core)

if(NOT GRAFT_TORCH)
  # The kernels that need nothing of LibTorch: what the sanitizers see of its loops over pointers. Their other tests hold
  # them to LibTorch's operations.
  set(plain_kernels rows.cpp gate_rows.cpp softmax_columns.cpp tile_layout.cpp block_tile.cpp block_amx.cpp tile_product.cpp
    tile_strips.cpp)
  list(TRANSFORM plain_kernels PREPEND ${CMAKE_SOURCE_DIR}/src/nn/kernels/)
  add_library(graft_plain_kernels STATIC ${plain_kernels})
  target_link_libraries(graft_plain_kernels PUBLIC graft_core)
  file(GLOB plain_kernel_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/nn/kernels/*_plain_test.cpp)
  graft_test_binary(graft_kernel_tests SOURCES ${plain_kernel_tests} LIBRARIES graft_plain_kernels)
  # The paths that this machine has better ones than.
  foreach(masked all avx512_vnni avx512_bf16 amx)
    add_test(NAME plain_kernels.without_${masked} COMMAND graft_kernel_tests --gtest_brief=1)
    set_tests_properties(plain_kernels.without_${masked} PROPERTIES ENVIRONMENT GRAFT_MASK_CPU=${masked})
  endforeach()
endif()

# The piece of CONTRIBUTING.md's exercise in C++ that stands behind a heading.
function(graft_exercise out heading)
  file(READ ${CMAKE_SOURCE_DIR}/CONTRIBUTING.md text)
  foreach(mark "**${heading}**" "```cpp\n")
    string(FIND "${text}" "${mark}" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "CONTRIBUTING.md has no piece of C++ behind **${heading}**, which tests/laws/gain.cpp.in takes")
    endif()
    string(LENGTH "${mark}" length)
    math(EXPR found "${found} + ${length}")
    string(SUBSTRING "${text}" ${found} -1 text)
  endforeach()
  string(FIND "${text}" "```" end)
  string(SUBSTRING "${text}" 0 ${end} text)
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

if(GRAFT_TORCH)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/CONTRIBUTING.md)
  graft_exercise(GRAFT_EXERCISE_NUMBERS "The numbers.")
  graft_exercise(GRAFT_EXERCISE_OUTPUT "What it does.")
  graft_exercise(GRAFT_EXERCISE_MERGING "Merging.")
  configure_file(${CMAKE_SOURCE_DIR}/tests/laws/gain.cpp.in ${CMAKE_BINARY_DIR}/exercise/gain.cpp @ONLY)
  file(GLOB law_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/laws/*_test.cpp ${CMAKE_SOURCE_DIR}/tests/compat/*_test.cpp)
  # What verbs share is tested here; the verbs themselves are run as a user runs them, below.
  graft_test_binary(graft_engine_tests SOURCES ${engine_tests} ${cli_tests} ${law_tests} ${CMAKE_BINARY_DIR}/exercise/gain.cpp
    LIBRARIES graft_cli SHARDS 6)
  target_precompile_headers(graft_engine_tests PRIVATE ${CMAKE_SOURCE_DIR}/cmake/engine_tests_pch.h)
  # Work in even parts, and on three threads in uneven ones: kernels alone, as two cores take turns at three threads.
  set(kernel_tests *Product*:*Rows*:SingleQuery*:Gated*:BlockStore*:Hadamard*)
  add_test(NAME threads.2 COMMAND graft_engine_tests --gtest_brief=1
    --gtest_filter=${kernel_tests}:Train.*:*TrainingLaw*)
  set_tests_properties(threads.2 PROPERTIES ENVIRONMENT OMP_NUM_THREADS=2 PROCESSORS 2)
  add_test(NAME threads.3 COMMAND graft_engine_tests --gtest_brief=1 --gtest_filter=${kernel_tests})
  set_tests_properties(threads.3 PROPERTIES ENVIRONMENT OMP_NUM_THREADS=3 PROCESSORS 2)
  # The plain paths, on a machine that has better ones; by one thread each, as they run side by side.
  set(chosen_kernels BlockProduct.*:BlockStore.*:ExactLinear.*:FewRowsProduct.*:Attention.*:LowRankSums.*:Speculation.*:Train.*)
  add_test(NAME kernels.plain COMMAND graft_engine_tests --gtest_brief=1 --gtest_filter=${chosen_kernels})
  set_tests_properties(kernels.plain PROPERTIES ENVIRONMENT "GRAFT_MASK_CPU=all;${GRAFT_ONE_THREAD}")
  add_test(NAME kernels.avx2 COMMAND graft_engine_tests --gtest_brief=1 --gtest_filter=${chosen_kernels})
  set_tests_properties(kernels.avx2 PROPERTIES ENVIRONMENT "GRAFT_MASK_CPU=avx512_vnni,avx512_bf16;${GRAFT_ONE_THREAD}")
  add_test(NAME kernels.avx512 COMMAND graft_engine_tests --gtest_brief=1 --gtest_filter=${chosen_kernels})
  set_tests_properties(kernels.avx512 PROPERTIES ENVIRONMENT "GRAFT_MASK_CPU=amx;${GRAFT_ONE_THREAD}")
  # The built command, run as a user runs it.
  file(GLOB whole_program_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/*.cpp)
  graft_test_binary(graft_e2e_tests SOURCES ${whole_program_tests} LIBRARIES graft_core)
  target_precompile_headers(graft_e2e_tests REUSE_FROM graft_core_tests)
  add_dependencies(graft_e2e_tests graft)
endif()
