"""The three losses of T-Few (Liu et al. 2022, section 3.2 and 3.4), computed plainly: one padded row per choice."""

import torch
import torch.nn.functional as F

from cases import VOCABULARY, decoder_start, is_encoder_decoder


def examples(generator):
    """(prompt, choices, label): different numbers of choices and different lengths."""
    def tokens(count):
        return torch.randint(3, VOCABULARY, (count,), generator=generator)
    return [(tokens(6), [tokens(1), tokens(3), tokens(2)], 1), (tokens(11), [tokens(2), tokens(2)], 0),
            (tokens(4), [tokens(1), tokens(4), tokens(1), tokens(2)], 3)]


def token_log_probabilities(model, name, batch):
    """Per example a list of [T] log-probabilities, one per choice, from one right-padded forward over all rows."""
    rows = [(prompt, choice) for prompt, choices, _ in batch for choice in choices]
    pad = torch.nn.utils.rnn.pad_sequence
    if is_encoder_decoder(name):
        start = decoder_start(name)
        prompts = [prompt for prompt, _ in rows]
        out = model(input_ids=pad(prompts, batch_first=True),
                    attention_mask=pad([torch.ones_like(p) for p in prompts], batch_first=True),
                    decoder_input_ids=pad([F.pad(c[:-1], (1, 0), value=start) for _, c in rows], batch_first=True),
                    use_cache=False).logits
        starts = [0] * len(rows)
    else:
        whole = [torch.cat(row) for row in rows]
        out = model(input_ids=pad(whole, batch_first=True),
                    attention_mask=pad([torch.ones_like(w) for w in whole], batch_first=True), use_cache=False).logits
        starts = [len(prompt) - 1 for prompt, _ in rows]
    flat = [out[row, start:start + len(choice)].log_softmax(-1).gather(-1, choice[:, None])[:, 0]
            for row, (start, (_, choice)) in enumerate(zip(starts, rows))]
    result, at = [], 0
    for _, choices, _ in batch:
        result.append(flat[at:at + len(choices)])
        at += len(choices)
    return result


def losses(scores, labels):
    """lm, ul and ln are means over examples of the paper's formulas; total = lm + ul + ln.

    ul_authors is the variant of the authors' released training step, written out here from what that code computes.
    All choices of the batch are padded to the longest one. Real tokens of wrong choices hold their log-probability; every
    token of the right choice and every padding position hold -100 instead. Then
        ul_authors = sum over all positions of -log(1 - exp(l) + 0.01) / (number of positions whose l is not -100),
    one quotient for the whole batch: the right choice's and the padding's positions each add -log(1.01) to the numerator
    and nothing to the denominator. (The authors' batches have equally many choices per example; here a choice that an example
    does not have adds no row.)
    """
    lm, ul, ln = [], [], []
    for choices, label in zip(scores, labels):
        lm.append(-choices[label].mean())
        wrong = torch.cat([choice for index, choice in enumerate(choices) if index != label])
        ul.append(-torch.log1p(-wrong.exp()).mean())
        beta = torch.stack([choice.mean() for choice in choices])
        ln.append(F.cross_entropy(beta[None], torch.tensor([label])))
    longest = max(len(choice) for choices in scores for choice in choices)
    numerator, denominator = 0.0, 0
    for choices, label in zip(scores, labels):
        for index, choice in enumerate(choices):
            kept = choice if index != label else torch.full_like(choice, -100.0)
            padded = F.pad(kept, (0, longest - len(choice)), value=-100.0)
            numerator = numerator - torch.log(1 - padded.exp() + 1e-2).sum()
            denominator += int((padded != -100).sum())
    result = {key: torch.stack(value).mean() for key, value in (("lm", lm), ("ul", ul), ("ln", ln))}
    result["total"] = result["lm"] + result["ul"] + result["ln"]
    result["ul_authors"] = numerator / denominator
    return result
