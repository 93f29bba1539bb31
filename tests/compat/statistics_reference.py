"""Writes statistics.json: random cases of every statistic of src/statistics, with what a reference library says of them.
src/statistics/reference_test.cpp reads it and compares.

python statistics_reference.py [--output statistics.json]

Needs the packages of statistics_requirements.txt; a minute or so. The seed is below, so that a second run writes
the same file.
"""

import argparse
import importlib.metadata
import itertools
import json
import math
import pathlib
import warnings

import numpy as np
import torch
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import binary_calibration_error

SEED = 20261127
LIBRARIES = ("numpy", "scipy", "statsmodels", "scikit-learn", "torchmetrics", "torch")
METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
EXACT_RESAMPLES = 20000


def listed(array):
    return np.asarray(array).tolist()


# Quantiles


def quantile_cases(rng):
    parts = [0, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 1]
    for number in range(120):
        count = (1, 2, 3, 4, 5, 7)[number] if number < 6 else int(rng.integers(1, 30))
        kind = number % 4
        if kind == 0:
            values = np.round(rng.normal(0, 1, count), 4)
        elif kind == 1:
            values = rng.integers(0, 4, count).astype(float)  # ties
        elif kind == 2:
            values = np.round(rng.lognormal(0, 6, count), 3)
        else:
            values = np.full(count, round(float(rng.normal()), 3))
        values = np.sort(values)
        asked = parts + listed(np.round(rng.random(4), 3))
        found = np.quantile(values, asked, method="linear")
        yield {"values": listed(values), "parts": asked, "quantiles": listed(found), "iqr": float(stats.iqr(values))}


# Bootstrap with graft's own draws


class GraftDraws(np.random.Generator):
    """graft's generator (src/base/rng.h: xoshiro256** seeded by splitmix64), so that scipy draws the very resamples that
    graft draws."""

    BITS = 2**64 - 1

    def __init__(self, seed):
        super().__init__(np.random.PCG64(0))  # which is never asked
        self.words = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & self.BITS
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & self.BITS
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.BITS
            self.words.append(z ^ (z >> 31))

    def rotated(self, value, bits):
        return ((value << bits) | (value >> (64 - bits))) & self.BITS

    def word(self):
        a, b, c, d = self.words
        result = (self.rotated((b * 5) & self.BITS, 7) * 9) & self.BITS
        c ^= a
        d ^= b
        self.words = [a ^ d, b ^ c, c ^ ((b << 17) & self.BITS), self.rotated(d, 45)]
        return result

    def below(self, bound):
        limit = self.BITS - self.BITS % bound
        draw = self.word()
        while draw >= limit:
            draw = self.word()
        return draw % bound

    def integers(self, low, high=None, size=None, dtype="int64", endpoint=False):
        assert low == 0 and not endpoint
        return np.array([self.below(high) for _ in range(math.prod(size))], dtype).reshape(size)


def scipy_bootstrap(count, statistic, options):
    """`statistic` of the indices of one resample."""

    def of_all(indices, axis=-1):
        return np.array([statistic(row) for row in indices])

    return stats.bootstrap(
        (np.arange(count),),
        of_all,
        vectorized=True,
        method="percentile",
        n_resamples=options["resamples"],
        confidence_level=options["level"],
        rng=GraftDraws(options["seed"]),
    )


def interval_of(result):
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def random_options(rng):
    return {"resamples": int(rng.integers(40, 120)), "level": float(rng.choice(LEVELS)), "seed": int(rng.integers(0, 2**31))}


def bootstrap_mean_cases(rng):
    for number in range(60):
        count = int(rng.integers(2, 25))
        values = rng.integers(0, 3, count) / 2 if number % 2 else np.round(rng.normal(0, 10, count), 3)
        options = random_options(rng)
        result = scipy_bootstrap(count, lambda indices: values[indices].mean(), options)
        yield {"values": listed(values), **options, "interval": interval_of(result)}


def score(metric, truth, predicted):
    if metric == "accuracy":
        return metrics.accuracy_score(truth, predicted)
    if metric == "balanced_accuracy":
        return metrics.balanced_accuracy_score(truth, predicted)
    return metrics.f1_score(truth, predicted, average="macro", zero_division=0)


def mean_score(metric, truth, runs, indices):
    return float(np.mean([score(metric, truth[indices], run[indices]) for run in runs]))


def predictions(rng, truth, classes, known=0.6):
    guesses = rng.integers(0, classes, len(truth))
    return np.where(rng.random(len(truth)) < known, truth, guesses)


def bootstrap_metric_cases(rng):
    for number in range(60):
        count, classes = int(rng.integers(2, 25)), int(rng.integers(2, 5))
        truth = rng.integers(0, classes, count)
        runs = [predictions(rng, truth, classes) for _ in range(1 + number // 3 % 3)]
        metric, options = METRICS[number % 3], random_options(rng)
        result = scipy_bootstrap(count, lambda indices: mean_score(metric, truth, runs, indices), options)
        yield {
            "metric": metric,
            "classes": classes,
            "truth": listed(truth),
            "runs": [listed(run) for run in runs],
            **options,
            "interval": interval_of(result),
        }


def two_sided(at_most, at_least):
    return min(1.0, 2 * min(at_most, at_least))


def difference_of(metric, truth, first, second, indices):
    """Means of runs that are equal may differ in their last digit."""
    difference = mean_score(metric, truth, second, indices) - mean_score(metric, truth, first, indices)
    return 0.0 if abs(difference) < 1e-12 else difference


def paired_cases(rng):
    for number in range(60):
        count, classes = int(rng.integers(2, 25)), int(rng.integers(2, 4))
        truth = rng.integers(0, classes, count)
        first = [predictions(rng, truth, classes) for _ in range(1 + number // 3 % 3)]
        second = [predictions(rng, truth, classes) for _ in range(1 + number // 9 % 3)]
        metric, options = METRICS[number % 3], random_options(rng)

        def difference(indices):
            return difference_of(metric, truth, first, second, indices)

        result = scipy_bootstrap(count, difference, options)
        drawn = result.bootstrap_distribution
        yield {
            "metric": metric,
            "classes": classes,
            "truth": listed(truth),
            "first": [listed(run) for run in first],
            "second": [listed(run) for run in second],
            **options,
            "difference": difference(np.arange(count)),
            "interval": interval_of(result),
            "p": two_sided(float(np.mean(drawn <= 0)), float(np.mean(drawn >= 0))),
        }


# Bootstrap against the exact distribution of a resample's statistic. The share of 20,000 resamples that lie below a value has
# the standard deviation sqrt(p (1 - p) / 20000) around its p; the bounds are five of them away, which a right generator leaves
# once in 1.7 million times.


def noise(part):
    return 5 * math.sqrt(max(part * (1 - part), 0) / EXACT_RESAMPLES)


def share_bounds(part):
    return max(part - noise(part), 0), min(part + noise(part), 1)


def end_bounds(quantile, level):
    """Of both ends of the interval. `quantile` is that of the exact distribution."""
    ends = [share_bounds((1 - level) / 2), share_bounds((1 + level) / 2)]
    return [[float(quantile(part)) for part in bounds] for bounds in ends]


def exact_options(rng, level):
    return {"resamples": EXACT_RESAMPLES, "level": level, "seed": int(rng.integers(0, 2**31))}


def exact_accuracy_cases(rng):
    for _ in range(12):
        count = int(rng.integers(5, 200))
        right, level = int(rng.integers(1, count)), float(rng.choice(LEVELS))
        law = stats.binom(count, right / count)
        low, high = end_bounds(lambda part: max(law.ppf(part), 0) / count, level)
        yield {"right": right, "count": count, **exact_options(rng, level), "low": low, "high": high}


def exact_law(count, statistic):
    """Values of the statistic over all resamples, in ascending order, and their probabilities: one resample for each way of
    drawing every example so many times, weighed by the multinomial distribution."""
    values, weights = [], []
    for times in itertools.product(range(count + 1), repeat=count):
        if sum(times) != count:
            continue
        values.append(statistic(np.repeat(np.arange(count), times)))
        weights.append(stats.multinomial.pmf(times, count, [1 / count] * count))
    order = np.argsort(values)
    return np.array(values)[order], np.array(weights)[order]


def law_quantile(values, weights):
    reached = np.cumsum(weights)
    return lambda part: values[min(np.searchsorted(reached, part - 1e-12), len(values) - 1)]


def exact_mean_cases(rng):
    for _ in range(10):
        count, level = int(rng.integers(2, 6)), float(rng.choice(LEVELS))
        sample = np.round(rng.normal(0, 1, count), 2)
        low, high = end_bounds(law_quantile(*exact_law(count, lambda indices: sample[indices].mean())), level)
        yield {"values": listed(sample), **exact_options(rng, level), "low": low, "high": high}


def exact_paired_cases(rng):
    for number in range(15):
        count, level, metric = int(rng.integers(4, 6)), float(rng.choice(LEVELS)), METRICS[number % 3]
        truth = rng.integers(0, 2, count)
        first, second = predictions(rng, truth, 2, known=0.2), predictions(rng, truth, 2, known=0.8)

        def difference(indices):
            return difference_of(metric, truth, [first], [second], indices)

        values, weights = exact_law(count, difference)
        low, high = end_bounds(law_quantile(values, weights), level)
        below, above = share_bounds(weights[values <= 0].sum()), share_bounds(weights[values >= 0].sum())
        yield {
            "metric": metric,
            "truth": listed(truth),
            "first": listed(first),
            "second": listed(second),
            **exact_options(rng, level),
            "low": low,
            "high": high,
            "p": [two_sided(below[0], above[0]), two_sided(below[1], above[1])],
        }


# Proportions


def wilson_cases(rng):
    pairs = [(0, 1), (1, 1), (0, 10), (10, 10), (1, 1000000), (999999, 1000000), (500000, 1000000)]
    for largest in (10, 100, 5000, 1000000):
        for _ in range(20):
            count = int(rng.integers(1, largest))
            pairs.append((int(rng.integers(0, count + 1)), count))
    for right, count in pairs:
        low, high = proportion_confint(right, count, alpha=0.05, method="wilson")
        scipys = stats.binomtest(right, count).proportion_ci(0.95, method="wilson")
        assert math.isclose(low, scipys.low, rel_tol=1e-9, abs_tol=1e-12)
        assert math.isclose(high, scipys.high, rel_tol=1e-9)
        yield {"right": right, "count": count, "low": float(low), "high": float(high)}


def mcnemar_cases(rng):
    pairs = [(0, 0), (0, 1), (1, 0), (7, 7), (8, 7), (0, 1000), (5000, 5000), (4800, 5200), (200, 4000)]
    for largest in (6, 40, 400, 3000):
        pairs += [(int(rng.integers(0, largest)), int(rng.integers(0, largest))) for _ in range(25)]
    for first, second in pairs:
        p = float(mcnemar([[30, first], [second, 10]], exact=True).pvalue)
        if first + second > 0:
            assert math.isclose(p, stats.binomtest(first, first + second).pvalue, rel_tol=1e-9)
        yield {"only_first": first, "only_second": second, "p": p}


# Calibration


def confidences(rng, kind, bins, count):
    """Random, away from edges; on edges of bins that floating point has exactly; on edges of others, where k / bins and k times
    the width are the same number."""
    if kind == 0:
        drawn = rng.integers(0, 10001, 4 * count) / 10000
        return drawn[np.abs(drawn * bins - np.round(drawn * bins)) > 1e-6][:count]
    if kind == 1:
        return rng.integers(0, 33, count) / 32
    edges = np.linspace(0, 1, bins + 1)
    edges = edges[edges == np.arange(bins + 1) / bins]
    return rng.choice(edges, count)


def torchmetrics_error(confidence, correct, bins):
    """torchmetrics closes its bins below, graft and Guo et al. above: of 1 - x the one is the other. 1 has a bin of its own
    there."""
    mirrored, wrong = torch.from_numpy(1 - confidence), torch.from_numpy(1 - correct)
    return float(binary_calibration_error(mirrored, wrong, n_bins=bins, norm="l1"))


def calibration_cases(rng):
    for number in range(90):
        kind = number % 3
        bins = 2 ** int(rng.integers(0, 6)) if kind == 1 else int(rng.choice([2, 3, 5, 10, 15, 20, 25, 29, 50]))
        confidence = confidences(rng, kind, bins, 1 if number < 3 else int(rng.integers(2, 60)))
        correct = (rng.random(len(confidence)) < confidence).astype(np.int64)
        edges = np.linspace(0, 1, bins + 1)
        counts = np.bincount(np.digitize(confidence, edges[1:-1], right=True), minlength=bins)
        accuracy, mean = calibration_curve(correct, confidence, pos_label=1, n_bins=bins)
        error = float((counts[counts > 0] / len(confidence) * np.abs(accuracy - mean)).sum())
        by_torchmetrics = kind < 2 and confidence.min() > 0
        if by_torchmetrics:
            scikits, error = error, torchmetrics_error(confidence, correct, bins)
            assert math.isclose(error, scikits, abs_tol=1e-12)
        yield {
            "bins": bins,
            "confidence": listed(confidence),
            "correct": listed(correct),
            "tool": "torchmetrics" if by_torchmetrics else "scikit-learn",
            "error": error,
            "filled": [{"bin": int(b), "count": int(counts[b])} for b in np.flatnonzero(counts)],
            "accuracy": listed(accuracy),
            "mean": listed(mean),
        }


def brier_cases(rng):
    """Of several numbers of choices scikit-learn gets the missing ones as impossible."""
    for number in range(60):
        count, most = int(rng.integers(1, 12)), int(rng.integers(2, 6))
        sizes = [int(rng.integers(2, most + 1)) if number % 2 else most for _ in range(count)]
        rows = [listed(rng.multinomial(1024, rng.dirichlet(np.full(size, 0.5))) / 1024) for size in sizes]
        truth = [int(rng.integers(0, size)) for size in sizes]
        padded = np.array([row + [0.0] * (most - len(row)) for row in rows])
        value = metrics.brier_score_loss(truth, padded, labels=list(range(most)), scale_by_half=False)
        yield {"probabilities": rows, "truth": truth, "score": float(value)}


# Classification


def classification_cases(rng):
    for number in range(90):
        count, classes = 1 if number < 3 else int(rng.integers(1, 50)), int(rng.integers(1, 7))
        truth = rng.integers(0, int(rng.integers(1, classes + 1)), count)  # some classes may only be predicted
        predicted = predictions(rng, truth, classes)
        every = list(range(classes))
        scores = metrics.precision_recall_fscore_support(truth, predicted, labels=every, zero_division=0)
        precision, recall, f1, support = scores
        yield {
            "classes": classes,
            "truth": listed(truth),
            "predicted": listed(predicted),
            "confusion": listed(metrics.confusion_matrix(truth, predicted, labels=every)),
            "precision": listed(precision),
            "recall": listed(recall),
            "f1": listed(f1),
            "support": listed(support),
            **{metric: float(score(metric, truth, predicted)) for metric in METRICS},
        }


def true_probability_cases(rng):
    for _ in range(20):
        size = int(rng.integers(2, 8))
        probabilities = rng.multinomial(1024, rng.dirichlet(np.full(size, 1.0))) / 1024
        truths = np.sort(rng.choice(size, int(rng.integers(1, size)), replace=False))
        yield {"probabilities": listed(probabilities), "truths": listed(truths), "sum": float(probabilities[truths].sum())}


SECTIONS = {
    "quantile": quantile_cases,
    "bootstrap_mean": bootstrap_mean_cases,
    "bootstrap_metric": bootstrap_metric_cases,
    "paired_bootstrap": paired_cases,
    "exact_accuracy": exact_accuracy_cases,
    "exact_mean": exact_mean_cases,
    "exact_paired": exact_paired_cases,
    "wilson": wilson_cases,
    "mcnemar": mcnemar_cases,
    "calibration": calibration_cases,
    "brier": brier_cases,
    "classification": classification_cases,
    "true_probability": true_probability_cases,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).with_name("statistics.json"),
                        help="file (default: beside this one)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")  # of classes that a resample lacks
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    about = {"made_by": "tests/compat/statistics_reference.py", "seed": SEED, "versions": versions}
    parts = [f'"about": {json.dumps(about)}']
    for number, (name, cases) in enumerate(SECTIONS.items()):
        rows = [json.dumps(case, separators=(",", ":")) for case in cases(np.random.default_rng([SEED, number]))]
        print(f"{name}: {len(rows)} cases")
        parts.append(f'"{name}": [\n' + ",\n".join(rows) + "\n]")
    arguments.output.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
