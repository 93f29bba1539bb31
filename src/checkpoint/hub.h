// Fetching models from a Hugging Face compatible hub into the usual cache.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace graft {

/// Where models come from and where they are kept.
struct HubOptions {
  std::string endpoint;  ///< e.g. "https://huggingface.co", without a slash at the end
  std::string token;     ///< empty: anonymous. Sent to the endpoint's own host only, never after a redirect elsewhere.
  std::filesystem::path cache;     ///< the folder with models--org--name and datasets--org--name inside; empty: nobody
                                   ///< said where, and nothing can be fetched
  std::string revision = "main";   ///< branch, tag or commit
  std::vector<std::string> files;  ///< only the repository's files that match one of these patterns (*, ?, [a-z]), e.g.
                                   ///< "*.Q4_0.gguf"; empty: what a model needs, or what graft reads of a data set
  bool offline = false;            ///< answer from the cache, touch no network
  bool parquet = false;            ///< of data sets: .parquet files are among those that graft reads
  /// Of data sets: the server that is asked for rows, without a slash at the end; empty: huggingface.co's, where that
  /// is the endpoint. The token goes there too.
  std::string rows_server = {};
};

/// The options the environment asks for: HF_ENDPOINT; HF_TOKEN, else the token file (HF_TOKEN_PATH, HF_HOME/token);
/// HF_HUB_CACHE, else HF_HOME/hub (HF_HOME: XDG_CACHE_HOME/huggingface, ~/.cache/huggingface); HF_HUB_OFFLINE;
/// HF_DATASETS_SERVER. Without any of these, nor HOME, the cache stays empty.
HubOptions hub_options_from_environment();

/// Brings `repository` ("org/name") into the cache and returns its snapshot folder, or the path of the file where
/// options.files gives just one. Of a model in several GGUF files one brings the others along, and the first of them is
/// the path. Takes the configuration, the tokenizer's files and the weights (safetensors where
/// there are any, else PyTorch's). Files that are already there are not fetched again; an interrupted download goes on
/// where it stopped, and one that another process is at is waited for. Every weight file is checked against the SHA-256
/// the hub promises. Throws InvalidArgument (malformed name, no permission, no cache), NotFound (repository, revision,
/// file, or not in the cache while offline), Io (no network, server error), Corruption (wrong size or hash: the part is
/// thrown away), ResourceExhausted (disk full), Cancelled. What http_get throws of proxies comes on top.
std::filesystem::path pull(const std::string& repository, const HubOptions& options);

}  // namespace graft
