# One libFuzzer target per tests/fuzz/*_fuzz.cpp; seeds in tests/fuzz/corpus/NAME. ./check runs each for a few seconds.
file(GLOB fuzz_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
foreach(file IN LISTS fuzz_files)
  get_filename_component(name ${file} NAME_WE)
  add_executable(${name} ${file})
  target_link_libraries(${name} PRIVATE graft_core)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endforeach()
