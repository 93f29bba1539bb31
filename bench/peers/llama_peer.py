#!/usr/bin/env python3
"""Reading 512 tokens, writing one text and sixteen at once, by llama.cpp's server in this process (xllamacpp), with the
clock of the server itself. Token ids come from standard input; prints one JSON object: the rate of every repetition, the
text that follows the first sixteen ids and its mean negative log-likelihood. `--write TYPE OUT` writes the model in another
type instead."""

import argparse
import concurrent.futures
import json
import pathlib
import resource
import statistics
import sys
import time

import gguf
import xllamacpp

PREFILL, READ, STEPS, SEQUENCES, REPEATS = 512, 16, 128, 16, 5
TYPES = {"Q4_0": gguf.GGMLQuantizationType.Q4_0, "Q8_0": gguf.GGMLQuantizationType.Q8_0,
         "BF16": gguf.GGMLQuantizationType.BF16}


def server(options):
    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.n_parallel, params.n_ctx = SEQUENCES, 1024 * SEQUENCES
    params.n_batch = params.n_ubatch = 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt, params.verbosity = False, -1
    return xllamacpp.Server(params)


def complete(running, ids, count, **more):
    return running.handle_completions({"prompt": ids, "n_predict": count, "temperature": 0, "top_k": 1, "ignore_eos": True,
                                       "cache_prompt": False, **more})


def prefill(running, ids):
    return [complete(running, ids[i:i + PREFILL], 1)["timings"]["prompt_per_second"] for i in range(REPEATS)]


def decode(running, ids):
    return [complete(running, ids[i:i + READ], STEPS)["timings"]["predicted_per_second"] for i in range(REPEATS)]


def together(running, ids):
    """Tokens a second of sixteen texts, their short prompts included: they are read while others write."""
    rates = []
    with concurrent.futures.ThreadPoolExecutor(SEQUENCES) as pool:
        for _ in range(3):
            began = time.perf_counter()
            list(pool.map(lambda i: complete(running, ids[i:i + READ], STEPS), range(SEQUENCES)))
            rates.append(SEQUENCES * STEPS / (time.perf_counter() - began))
    return rates


def measure(options):
    ids = [int(word) for word in sys.stdin.read().split()]
    began = time.perf_counter()
    running = server(options)
    load = time.perf_counter() - began
    text = complete(running, ids[:READ], STEPS, logprobs=1)["choices"][0]["logprobs"]["content"]
    print(json.dumps({"load": load, "prefill": prefill(running, ids), "decode_1": decode(running, ids),
                      "decode_16": together(running, ids), "text": [token["id"] for token in text],
                      "loss": -statistics.mean(token["logprob"] for token in text),
                      "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def copied(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)


def write(options, kind, out):
    reader = gguf.GGUFReader(options.model)
    writer = gguf.GGUFWriter(out, reader.get_field("general.architecture").contents())
    copied(reader, writer)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        wanted = TYPES[kind] if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--write", nargs=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.write:
        write(options, *options.write)
    else:
        measure(options)


if __name__ == "__main__":
    main()
