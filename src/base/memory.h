// The memory of this process and of its machine, in bytes.
#pragma once

#include <cstdint>
#include <string>

namespace graft {

/// Largest resident size of this process so far, or since begin_peak().
std::int64_t peak_memory();

/// From here on peak_memory() tells the peak of what follows, where the system can do that (Linux). What the allocator
/// keeps is given back first (trim_memory()).
void begin_peak();

/// Resident now.
std::int64_t resident_memory();

/// Of resident_memory(), what is not a file's (mapped weights are one's): what only the process's end would give back.
std::int64_t private_memory();

/// What this process could take on top without swapping, within the limits of its control groups (control_group.h).
/// What the system keeps of files counts as free, what this process has mapped of them too. Where the environment's
/// GRAFT_MEMORY is an amount (memory_amount()), that is what the process may have in all, whatever the system tells.
/// Throws InvalidArgument where it is none.
std::int64_t available_memory();

/// What the allocator keeps of freed memory goes back to the system, where it can do that (glibc): resident_memory()
/// is then what is in use.
void trim_memory();

/// "8GiB", "900 MB", "1.5GB": kB, MB, GB and TB are powers of 1000, KiB to TiB of 1024, without a unit it is bytes.
/// Throws InvalidArgument, naming `where`, for anything else and for nothing or less.
std::int64_t memory_amount(const std::string& text, const std::string& where);

}  // namespace graft
