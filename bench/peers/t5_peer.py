#!/usr/bin/env python3
"""A run of `graft tune` on an encoder-decoder of T5's family once more with transformers and PEFT: (IA)3, T-Few losses, as
tfew_peer.py has them for decoders.

What the peer does is what T-Few's authors do and the most that transformers offers: the encoder reads each prompt once, and
its states are repeated for the choices, so that the decoder has one padded row per choice. Cross-attention therefore makes
keys and values of the same prompt once per choice, and logits are made for every position of the padded rows. graft reads
each prompt once too; its cross-attention makes keys and values once per prompt, of which all of its choices read, and
neither prompts nor choices are padded. Both compute in the run's precision, without dropout.
"""

import torch
import torch.nn.functional as F
from peft import IA3Config, get_peft_model
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

import tfew_peer


def choice_scores(model, batch, pad, start):
    """Per example a list of token log-probabilities, one tensor per choice."""
    padded = lambda rows: pad_sequence(rows, batch_first=True, padding_value=pad)
    prompts = [torch.tensor(prompt) for prompt, _, _ in batch]
    choices = [torch.tensor(choice) for _, some, _ in batch for choice in some]
    each = torch.tensor([len(some) for _, some, _ in batch])
    mask = pad_sequence([torch.ones_like(prompt) for prompt in prompts], batch_first=True)
    encoder = model.get_base_model().encoder
    states = encoder(input_ids=padded(prompts), attention_mask=mask).last_hidden_state.repeat_interleave(each, 0)
    targets = padded(choices)
    logits = model(encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=mask.repeat_interleave(each, 0),
                   decoder_input_ids=F.pad(targets[:, :-1], (1, 0), value=start), use_cache=False).logits
    chosen = logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return tfew_peer.by_example([row[: len(choice)] for row, choice in zip(chosen, choices)], batch)


def main():
    options = tfew_peer.arguments(__doc__)
    config = tfew_peer.config_of(options)
    # The file itself: transformers may build a T5 tokenizer of its own around the same vocabulary.
    tokenizer = Tokenizer.from_file(f"{options.model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encode = lambda text: tokenizer.encode(text).ids
    model = AutoModelForSeq2SeqLM.from_pretrained(options.model, dtype=tfew_peer.dtype_of(config), dropout_rate=0.0)
    pad, start = model.config.pad_token_id, model.config.decoder_start_token_id
    model = get_peft_model(model, IA3Config(target_modules=["k", "v", "wo"], feedforward_modules=["wo"]))
    tfew_peer.repeat(options, config, model, lambda prompt, choices: (encode(prompt), [encode(choice) for choice in choices]),
                     lambda batch: choice_scores(model, batch, pad, start))


if __name__ == "__main__":
    main()
