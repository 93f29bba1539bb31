# graft_core: files, text, tasks, costs, statistics, reports and corpora; needs no LibTorch, so that the sanitizer build and the fuzz
# targets stay small. graft_engine: everything that computes. graft: the command.
function(graft_glob out)
  set(all "")
  foreach(folder IN LISTS ARGN)
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp)
    list(APPEND all ${found})
  endforeach()
  set(${out} ${all} PARENT_SCOPE)
endfunction()

function(graft_without_tests out)
  set(kept ${ARGN})
  list(FILTER kept EXCLUDE REGEX "_test\\.cpp$")
  set(${out} ${kept} PARENT_SCOPE)
endfunction()

function(graft_only_tests out)
  set(kept ${ARGN})
  list(FILTER kept INCLUDE REGEX "_test\\.cpp$")
  set(${out} ${kept} PARENT_SCOPE)
endfunction()

option(GRAFT_BATCHES "Compile six sources or tests of a folder at a time: half of the time for all of them" ON)
# Not for what registers itself: all of these have the same functions by the same names.
function(graft_batches target)
  if(NOT GRAFT_BATCHES)
    return()
  endif()
  foreach(file IN LISTS ARGN)
    get_filename_component(folder ${file} DIRECTORY)
    string(MAKE_C_IDENTIFIER ${folder} folder)
    if(NOT DEFINED files_of_${folder})
      set(files_of_${folder} 0)
    endif()
    math(EXPR batch "${files_of_${folder}} / 6")
    math(EXPR files_of_${folder} "${files_of_${folder}} + 1")
    set_source_files_properties(${file} PROPERTIES UNITY_GROUP ${folder}_${batch})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # A class of a source alone may have members of its anonymous namespace; in a batch GCC takes it for a header's.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()

set(GRAFT_CORE_FOLDERS base checkpoint config cost text data statistics report corpus)
set(GRAFT_ENGINE_FOLDERS nn nn/kernels nn/stores arch arch/core adapters adapters/core convert generate eval objectives train)
set(GRAFT_CLI_FOLDERS cli cli/core)

graft_glob(core_all ${GRAFT_CORE_FOLDERS})
graft_without_tests(core_sources ${core_all})
graft_only_tests(core_tests ${core_all})

# Asked at every build; the file changes with the answer alone, so that nothing else is compiled for it.
set(GRAFT_COMMIT "" CACHE STRING "The commit that results name (empty: what git says, a hash of the code without it)")
set(build_commit ${CMAKE_BINARY_DIR}/registry/build_commit.cpp)
add_custom_target(graft_build_commit
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${build_commit} -DCOMMIT=${GRAFT_COMMIT}
    -P ${CMAKE_SOURCE_DIR}/cmake/build_commit.cmake
  BYPRODUCTS ${build_commit} VERBATIM)
set_source_files_properties(${build_commit} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)

if(GRAFT_SANITIZE)
  # Nothing is optimised there but what tests keep busy: templates until a limit ends them, a thousand cases of each metric.
  set(GRAFT_BUSY bleu chrf ngrams rouge ter words)
  list(TRANSFORM GRAFT_BUSY PREPEND ${CMAKE_SOURCE_DIR}/src/statistics/)
  list(TRANSFORM GRAFT_BUSY APPEND .cpp)
  file(GLOB busy_text CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/text/jinja_*.cpp ${CMAKE_SOURCE_DIR}/src/text/*_template.cpp
    ${CMAKE_SOURCE_DIR}/src/text/bpe.cpp)
  graft_without_tests(busy_text ${busy_text})
  list(APPEND GRAFT_BUSY ${busy_text})
  list(REMOVE_ITEM core_sources ${GRAFT_BUSY})
endif()

add_library(graft_core STATIC ${core_sources} ${build_commit})
add_dependencies(graft_core graft_build_commit)
graft_batches(graft_core ${core_sources})
set(GRAFT_CORE_INCLUDES ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/include)
set(GRAFT_CORE_LIBRARIES ${CMAKE_DL_LIBS} fmt::fmt nlohmann_json::nlohmann_json yaml-cpp OpenSSL::SSL OpenSSL::Crypto
  ZLIB::ZLIB PkgConfig::PCRE2 PkgConfig::ICU PkgConfig::SQLITE PkgConfig::HTTPLIB Threads::Threads)
if(GRAFT_SANITIZE)
  # Part of graft_core: a target of their own, so that they are compiled in batches with other flags.
  add_library(graft_busy OBJECT ${GRAFT_BUSY})
  graft_batches(graft_busy ${GRAFT_BUSY})
  target_compile_options(graft_busy PRIVATE -O1)
  target_include_directories(graft_busy PRIVATE ${GRAFT_CORE_INCLUDES})
  target_link_libraries(graft_busy PRIVATE ${GRAFT_CORE_LIBRARIES})
  target_sources(graft_core PRIVATE $<TARGET_OBJECTS:graft_busy>)
endif()
# Packed weights are dequantised in every pass of training, and taken apart at every start: -O2 leaves half of these loops
# out of vectors.
# Without the precompiled header, which was compiled with other flags: GCC 12 breaks off over it in the sanitizer build.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/checkpoint/dequantise.cpp ${CMAKE_SOURCE_DIR}/src/checkpoint/block_codes.cpp
  PROPERTIES COMPILE_OPTIONS -O3 SKIP_PRECOMPILE_HEADERS ON)
target_precompile_headers(graft_core PRIVATE ${CMAKE_SOURCE_DIR}/cmake/core_pch.h)
target_include_directories(graft_core PUBLIC ${GRAFT_CORE_INCLUDES})
target_compile_definitions(graft_core PUBLIC GRAFT_VERSION="${PROJECT_VERSION}")
target_compile_definitions(graft_core PRIVATE GRAFT_COMPILED_HOME="${CMAKE_SOURCE_DIR}")
# graft_parquet: opened with the first Parquet file and not before, as Arrow takes longer to load than all else.
set(GRAFT_PARQUET_MODULE "")
if(GRAFT_ARROW)
  graft_glob(parquet_sources parquet_module)
  add_library(graft_parquet MODULE ${parquet_sources})
  target_include_directories(graft_parquet PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_include_directories(graft_parquet SYSTEM PRIVATE ${GRAFT_ARROW}/include)
  target_link_libraries(graft_parquet PRIVATE ${GRAFT_ARROW_LIBRARIES})
  set_target_properties(graft_parquet PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden BUILD_RPATH ${GRAFT_ARROW}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  if(GRAFT_SANITIZE)
    # Not watched, as Arrow is not: its types are in two libraries, which UBSan takes for different ones.
    target_compile_options(graft_parquet PRIVATE -fno-sanitize=all)
    target_link_options(graft_parquet PRIVATE -fno-sanitize=all)
  endif()
  set(GRAFT_PARQUET_MODULE ${CMAKE_BINARY_DIR}/lib/graft_parquet.so)
endif()
target_compile_definitions(graft_core PRIVATE GRAFT_PARQUET_MODULE="${GRAFT_PARQUET_MODULE}")
# For a program that opens it.
function(graft_opens_parquet target)
  if(TARGET graft_parquet)
    add_dependencies(${target} graft_parquet)
  endif()
endfunction()

target_link_libraries(graft_core PUBLIC ${GRAFT_CORE_LIBRARIES})

if(GRAFT_TORCH)
  graft_glob(engine_all ${GRAFT_ENGINE_FOLDERS})
  graft_without_tests(engine_sources ${engine_all})
  graft_only_tests(engine_tests ${engine_all})
  graft_registry(arch Architecture arch/core/architecture.h graft::arch arch)
  graft_registry(adapters Method adapters/core/method.h graft::adapters adapters)

  add_library(graft_engine STATIC ${engine_sources} ${GRAFT_REGISTRY_SOURCES})
  set(engine_batched ${engine_sources})
  list(FILTER engine_batched EXCLUDE REGEX "/src/(arch|adapters)/[^/]+$")
  graft_batches(graft_engine ${engine_batched})
  # -O2 leaves their loops out of vectors, and so does GCC for AVX2, which has no masks, where computing both sides of a
  # choice might raise a flag that nobody reads. Without the precompiled header, as above.
  set(GRAFT_LOOPS hadamard.cpp kernels/rows.cpp kernels/gate_rows.cpp kernels/softmax_columns.cpp kernels/tile_layout.cpp
    kernels/block_tile.cpp kernels/block_amx.cpp kernels/tile_product.cpp kernels/tile_strips.cpp kernels/bfloat16_product.cpp)
  list(TRANSFORM GRAFT_LOOPS PREPEND ${CMAKE_SOURCE_DIR}/src/nn/)
  set_source_files_properties(${GRAFT_LOOPS}
    PROPERTIES COMPILE_OPTIONS "-O3;-fno-trapping-math" SKIP_PRECOMPILE_HEADERS ON)
  target_link_libraries(graft_engine PUBLIC graft_core torch OpenMP::OpenMP_CXX)
  target_precompile_headers(graft_engine PRIVATE ${CMAKE_SOURCE_DIR}/cmake/torch_pch.h)

  graft_glob(cli_all ${GRAFT_CLI_FOLDERS})
  graft_without_tests(cli_sources ${cli_all})
  graft_only_tests(cli_tests ${cli_all})
  # What verbs share is a library, so that its tests need not compile it again.
  set(cli_shared ${cli_sources})
  list(FILTER cli_shared INCLUDE REGEX "/cli/core/")
  list(FILTER cli_shared EXCLUDE REGEX "/main\\.cpp$")
  add_library(graft_cli STATIC ${cli_shared})
  set(cli_batched ${cli_shared})
  list(FILTER cli_batched EXCLUDE REGEX "/data_[^/]+$")  # the parts of `graft data` are like verbs
  graft_batches(graft_cli ${cli_batched})
  target_link_libraries(graft_cli PUBLIC graft_engine)
  target_compile_options(graft_cli PRIVATE -O1)
  target_precompile_headers(graft_cli REUSE_FROM graft_engine)

  set(GRAFT_REGISTRY_SOURCES "")
  graft_registry(cli Verb cli/core/verb.h graft::cli cli)
  list(REMOVE_ITEM cli_sources ${cli_shared})
  # A list of verbs needs none of it.
  set_source_files_properties(${GRAFT_REGISTRY_SOURCES} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  add_executable(graft ${cli_sources} ${GRAFT_REGISTRY_SOURCES})
  target_link_libraries(graft PRIVATE graft_cli)
  graft_opens_parquet(graft)
  # Verbs put parts together; at -O2 most of their time to compile goes into CLI11's own functions.
  target_compile_options(graft PRIVATE -O1)
  target_precompile_headers(graft PRIVATE ${CMAKE_SOURCE_DIR}/cmake/cli_pch.h)
  set_target_properties(graft PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()
