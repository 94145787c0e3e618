"""How far a score can be believed: temperature, calibration error, and the score below which "not sure" is said."""

import numpy as np
import torch

BINS = 15  # of equal width, as in Guo et al., ICML 2017
UNCERTAIN_SHARE = 0.2  # of the validation clips


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that makes held-out clips most likely (Guo et al., ICML 2017); logits (clips, classes)."""
    logits, labels = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), labels)
        value.backward()
        return value

    optimizer.step(loss)
    return float(log_temperature.detach().exp().clamp(0.2, 5.0))


def fit_uncertainty_threshold(logits: np.ndarray, temperature: float) -> float:
    """The score that the least sure fifth (UNCERTAIN_SHARE) of held-out clips stays below; logits (clips, classes).

    Selective classification at a fixed coverage (Geifman and El-Yaniv, NeurIPS 2017). A wanted precision of the
    other answers would be the alternative. But a few hundred clips hold a few dozen errors, so that such a threshold
    follows chance; a weak model would never be sure and a strong one always; and the accuracy on validation clips,
    which chose the epoch, is better than the one to come. How often a user is told "not sure" is the same for every
    model this way, and how many errors that catches is measured afterwards, on the test clips.
    """
    scores = torch.tensor(logits / temperature, dtype=torch.float64).softmax(-1)
    return float(np.quantile(scores.max(-1).values.numpy(), UNCERTAIN_SHARE))


def reliability_bins(confidence: np.ndarray, right: np.ndarray) -> list[dict]:
    """The clips by the score of their answer, in BINS bins of equal width over 0 < score ≤ 1; empty ones left out.

    Args:
        confidence, right: (clips,) scores of the answers, and whether they are right.

    Returns:
        For each bin its edges "low" and "high", its "clips", and their mean "confidence" and "accuracy".
    """
    number = np.clip(np.ceil(np.asarray(confidence) * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        {
            "low": bin / BINS,
            "high": (bin + 1) / BINS,
            "clips": int((number == bin).sum()),
            "confidence": float(confidence[number == bin].mean()),
            "accuracy": float(right[number == bin].mean()),
        }
        for bin in np.unique(number).tolist()
    ]


def expected_calibration_error(bins: list[dict]) -> float:
    """ECE, a fraction: by how much confidence and accuracy differ in a bin, averaged over the clips."""
    clips = sum(row["clips"] for row in bins)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / clips


def calibration_figures(confidence: np.ndarray, right: np.ndarray, threshold: float) -> dict:
    """ECE, the bins behind it, and what "not sure" below the threshold comes to.

    Args:
        confidence, right: (clips,) scores of the answers, and whether they are right.

    Returns:
        "uncertain_share" is the share of clips, "errors_caught" the share of wrong answers that lie below the
        threshold; the latter is None where there is no error.
    """
    bins, uncertain, wrong = reliability_bins(confidence, right), confidence < threshold, ~right
    return {
        "uncertainty_threshold": threshold,
        "expected_calibration_error": expected_calibration_error(bins),
        "bins": bins,
        "uncertain_share": float(uncertain.mean()),
        "errors_caught": float(uncertain[wrong].mean()) if wrong.any() else None,
    }


def format_calibration(figures: dict) -> str:
    """What `calibration_figures` returns as text."""
    error = f"Expected calibration error (ECE, {BINS} bins): {100 * figures['expected_calibration_error']:.2f} %"
    threshold, caught = figures["uncertainty_threshold"], figures["errors_caught"]
    if not threshold:
        return f"{error}\nNot sure: never, since the model has no uncertainty threshold"
    clips = f"{100 * figures['uncertain_share']:.1f} % of the clips"
    errors = "no answer is wrong" if caught is None else f"{100 * caught:.1f} % of the wrong answers are among them"
    return f"{error}\nNot sure (score below {threshold:.2f}): {clips}; {errors}"
