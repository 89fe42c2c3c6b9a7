"""Writes test/fixtures/metrics.json: figures of classifiers, yes-or-no labels and regressions, by scikit-learn.

Run: npm run python -- scripts/oracles/metrics.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn import metrics

import lcg
from summary import rounded, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "metrics.json"
ROWS, CLASSES, WIDTH = 60, 7, 3


def numbers(values: Any) -> list[Any]:
    return [rounded(float(value)) for value in np.ravel(values)]


def classes() -> dict[str, Any]:
    scores = lcg.uniform("metrics.scores", [ROWS, CLASSES])
    # Class 6 never occurs among the labels.
    labels = np.array(lcg.labels("metrics.labels", ROWS, CLASSES - 1))
    answers = scores.argmax(1)
    powers = np.exp(scores.astype(float))
    softmax = powers / powers.sum(1, keepdims=True)
    each = metrics.precision_recall_fscore_support(labels, answers, labels=range(CLASSES), zero_division=0)
    macro = metrics.precision_recall_fscore_support(labels, answers, average="macro", zero_division=0)
    return {
        "accuracy": rounded(metrics.accuracy_score(labels, answers)),
        "top5": rounded(metrics.top_k_accuracy_score(labels, scores, k=5, labels=range(CLASSES))),
        "top2": rounded(metrics.top_k_accuracy_score(labels, scores, k=2, labels=range(CLASSES))),
        "logLoss": rounded(metrics.log_loss(labels, softmax, labels=range(CLASSES))),
        "auc": [rounded(metrics.roc_auc_score(labels == c, softmax[:, c])) for c in range(CLASSES - 1)],
        "each": [numbers(figure) for figure in each], "macro": numbers(macro[:3]),
        "confusion": metrics.confusion_matrix(labels, answers, labels=range(CLASSES)).tolist(),
    }  # fmt: skip


def yes_or_no() -> dict[str, Any]:
    # Rounded, so that some scores are equal.
    scores = np.round(lcg.uniform("metrics.logits", [ROWS, WIDTH]) * 10) / 10
    labels = np.array(lcg.labels("metrics.answers", ROWS * WIDTH, 2)).reshape(ROWS, WIDTH)
    answers = (scores > 0).astype(int)
    each = metrics.precision_recall_fscore_support(labels, answers, zero_division=0)
    return {
        "accuracy": rounded(float((labels == answers).mean())), "each": [numbers(figure) for figure in each],
        "auc": [rounded(metrics.roc_auc_score(labels[:, i], scores[:, i])) for i in range(WIDTH)],
    }  # fmt: skip


def regression() -> dict[str, Any]:
    predictions = lcg.uniform("metrics.predictions", [ROWS, WIDTH]).astype(float)
    targets = lcg.uniform("metrics.targets", [ROWS, WIDTH]).astype(float) + 100
    predictions += 100
    return {
        "mse": rounded(metrics.mean_squared_error(targets, predictions)),
        "mae": rounded(metrics.mean_absolute_error(targets, predictions)),
        "r2": rounded(metrics.r2_score(targets, predictions)),
    }


write_json(FIXTURE, {
    "made": {"script": "scripts/oracles/metrics.py", "scikit-learn": sklearn.__version__},
    "rows": ROWS, "classes": CLASSES, "width": WIDTH,
    "ofClasses": classes(), "ofLabels": yes_or_no(), "ofNumbers": regression(),
})  # fmt: skip
