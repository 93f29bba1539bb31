"""Beam search by the reference: what transformers' generate() writes with several beams, penalties and ends."""

import torch

from cases import VOCABULARY, is_encoder_decoder

# beams, length penalty, no-repeat n-gram, early stopping
SETTINGS = [(2, 1.0, 0, False), (4, 0.9, 3, False), (5, 2.0, 2, True), (3, -0.5, 0, "never"), (6, 0.0, 1, "never")]
EARLY = {False: 0.0, True: 1.0, "never": 2.0}
NEW_TOKENS = 14
LENGTHS = (5, 12, 3)


def ends(model):
    """A random model hardly ever picks one end token: some more, so that texts end early, late and not at all."""
    own = model.config.eos_token_id
    return [own, *range(20, 28)] if isinstance(own, int) else list(range(20, 29))


@torch.no_grad()
def search(model, name, prompt, setting):
    beams, penalty, ngram, early = setting
    written = model.generate(prompt[None], num_beams=beams, length_penalty=penalty, no_repeat_ngram_size=ngram,
                             early_stopping=early, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=ends(model),
                             pad_token_id=0, forced_eos_token_id=None,
                             use_cache=not is_encoder_decoder(name))[0]
    written = written[1 if is_encoder_decoder(name) else len(prompt):].tolist()
    last = next((at for at, token in enumerate(written) if token in ends(model)), len(written) - 1)
    return torch.tensor(written[: last + 1])


def golden(model, name, generator):
    keys = {"beam.ends": torch.tensor(ends(model)), "beam.new_tokens": torch.tensor(NEW_TOKENS)}
    for s, (beams, penalty, ngram, early) in enumerate(SETTINGS):
        keys[f"beam.settings.{s}"] = torch.tensor([beams, penalty, ngram, EARLY[early]])
    for p, length in enumerate(LENGTHS):
        prompt = torch.randint(30, VOCABULARY, (length,), generator=generator)
        keys[f"beam.prompt.{p}"] = prompt
        keys.update({f"beam.ids.{s}.{p}": search(model, name, prompt, setting) for s, setting in enumerate(SETTINGS)})
    return keys
