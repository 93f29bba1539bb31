#!/usr/bin/env python3
"""The questions of one `graft eval` once more by lm-evaluation-harness, through its own task, model and evaluator.

Everything comes from the samples that graft wrote with --output-format lm-eval: each prompt as the model read it, and its
choices or the text to write. Prints one JSON object a line: the answer to every question, then a summary with the
harness's metrics and the seconds that its model class took, its tokenising included and loading left out.
"""

import os

os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse  # noqa: E402
import pathlib  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402

import datasets  # noqa: E402
import lm_eval  # noqa: E402
import torch  # noqa: E402
from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

import peer  # noqa: E402


class Timed(HFLM):
    """Adds up the seconds of its requests."""

    seconds = 0.0

    def timed(self, run, requests, **rest):
        began = time.perf_counter()
        responses = run(requests, **rest)
        self.seconds += time.perf_counter() - began
        return responses

    def loglikelihood(self, requests, **rest):
        return self.timed(super().loglikelihood, requests, **rest)

    def generate_until(self, requests, **rest):
        return self.timed(super().generate_until, requests, **rest)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="safetensors folder")
    parser.add_argument("--samples", required=True, type=pathlib.Path, help="samples_*.jsonl of graft eval")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--limit", type=int, default=0, help="the first questions only; 0: all")
    parser.add_argument("--write", type=int, default=0, help="write up to so many tokens instead of scoring the text")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def documents(options):
    """The samples' documents, each with its whole prompt."""
    samples = peer.lines(options.samples)
    for sample in samples[: options.limit or None]:
        yield {**sample["doc"], "prompt": sample["arguments"]["gen_args_0"]["arg_0"]}


def metric(name, higher_is_better=True):
    return {"metric": name, "aggregation": "perplexity" if name == "perplexity" else "mean", "higher_is_better": higher_is_better}


def begins(doc, results):
    """Of a written text: whether it begins with the target, and whether it is the target."""
    return {"acc": float(results[0].startswith(doc["target"])),
            "exact_match": float(results[0].strip() == doc["target"].strip())}


def kind_of(docs, options):
    """What of the task's configuration depends on what is asked."""
    if "choices" in docs[0]:
        return {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "label",
                "metric_list": [metric("acc"), metric("acc_norm")]}
    if options.write:
        return {"output_type": "generate_until", "doc_to_target": "target", "process_results": begins,
                "generation_kwargs": {"until": ["\n"], "max_gen_toks": options.write, "do_sample": False, "temperature": 0.0},
                "metric_list": [metric("acc"), metric("exact_match")]}
    return {"output_type": "loglikelihood", "doc_to_target": "target",
            "metric_list": [metric("perplexity", False), metric("acc")]}


def task_of(docs, options):
    return ConfigurableTask(config={
        "task": "graft", "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(docs)}, "test_split": "test",
        "doc_to_text": "prompt", "target_delimiter": "", "num_fewshot": 0, **kind_of(docs, options)})


def answer(sample):
    """What graft's prediction is compared with: the likeliest choice, or whether the text begins as it should."""
    if "choices" not in sample["doc"]:
        scores = [] if isinstance(sample["filtered_resps"][0], str) else [sample["filtered_resps"][0][0]]
        return int(sample["acc"]), scores
    scores = [response[0] for response in sample["filtered_resps"]]
    return scores.index(max(scores)), scores


def main():
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    lm = Timed(pretrained=model, tokenizer=tokenizer, batch_size=options.batch_size)
    docs = list(documents(options))
    task = task_of(docs, options)
    found = lm_eval.evaluate(lm=lm, task_dict={"tasks": {"graft": task}, "groups": {}}, bootstrap_iters=0)
    for sample in found["samples"]["graft"]:
        prediction, scores = answer(sample)
        peer.say(event="answer", id=sample["doc"]["id"], prediction=prediction, scores=scores)
    metrics = {name.split(",")[0]: value for name, value in found["results"]["graft"].items()
               if name.endswith(",none") and "_stderr" not in name}
    peer.say(event="summary", seconds=lm.seconds, questions=len(docs), metrics=metrics, torch=torch.__version__,
             peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
