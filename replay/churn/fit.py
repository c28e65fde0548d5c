"""Fitting the churn model on the earlier part of a log and measuring it on the later one.

Nothing of the later part is known to the fit: its samples end one horizon before the split, so that even their labels
lie before it. scikit-learn fits; what comes of it are coefficients for `scoring/health/churn.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from replay.churn.bgnbd import BgNbd, NotFittedError, visits_of
from replay.churn.bgnbd import fit as fit_bgnbd
from replay.churn.samples import BASELINES, Array, Samples, take_samples
from replay.log.activity_log import DEFAULT_HORIZON_DAYS, ActivityLog, LogError
from scoring.health.churn import SIGNALS, ChurnModel
from scoring.time import DAY
from topics.time import format_time

HORIZON_MS = int(DEFAULT_HORIZON_DAYS * DAY)
CHANCE = 0.5
RECENCY = BASELINES[0]
BGNBD = "BG/NBD"
FEWEST = 10
"""Who leave, and who stay, in each part; with fewer nothing can be said."""
RESAMPLES = 200
BINS = 5
STRENGTH = 0.5
"""Inverse of the L2 penalty on standardised signals, a user: their moments overlap, so that together they say less."""


@dataclass(frozen=True)
class Ranking:
    """How well something ranks who leaves before who stays: AUC with a 95 % interval (users resampled)."""

    name: str
    auc: float
    low: float
    high: float
    brier: float
    """Mean squared error of the probabilities. What is none is made one by the earlier part: the share that left of
    those who ranked alike there (isotonic regression)."""
    model_ahead: tuple[float, float] | None = None
    """95 % interval of the model's AUC less this one."""


@dataclass(frozen=True)
class Bin:
    """A fifth of the later samples by predicted probability."""

    samples: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Evaluation:
    """A fitted model, and how it did on the part of the log that it had not seen."""

    model: ChurnModel
    rankings: list[Ranking]
    """The model first, then the three baselines, then BG/NBD where the log lets it be fitted."""
    bins: list[Bin]
    brier: float
    brier_of_base_rate: float
    """Of saying to everybody the share that left in the earlier part."""
    numbers: dict[str, Any]

    def worse_than(self) -> str | None:
        """What ranks the later part better than the model: chance, or the last login's age; None if neither does."""
        auc = {ranking.name: ranking.auc for ranking in self.rankings}
        model = self.rankings[0].auc
        if model < CHANCE:
            return f"chance (AUC {model:.3f})"
        if model < auc[RECENCY]:
            return f"{RECENCY} (AUC {model:.3f} and {auc[RECENCY]:.3f})"
        return None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "model": {"intercept": self.model.intercept, "weights": self.model.weights},
            "auc": {ranking.name: ranking.auc for ranking in self.rankings},
            "rankings": [asdict(ranking) for ranking in self.rankings],
            "calibration": {
                "bins": [asdict(each) for each in self.bins],
                "brier": self.brier,
                "brier_of_base_rate": self.brier_of_base_rate,
            },
            **self.numbers,
        }


@dataclass(frozen=True)
class Split:
    """Samples before and behind the split, and the split (ms)."""

    earlier: Samples
    later: Samples
    at: int


def split_by_time(log: ActivityLog, samples: Samples, horizon_ms: int = HORIZON_MS) -> Split:
    """The halves: what is fitted on is over, labels included, when what is measured on begins."""
    at = (log.starts_at + horizon_ms // 2 + log.ends_at) // 2
    return Split(samples.where(samples.at + horizon_ms <= at), samples.where(samples.at >= at), at)


def fit_and_evaluate(log: ActivityLog, origin: str, *, seed: int = 1) -> Evaluation:
    """Fit on the earlier part, measure on the later; LogError where a part has too few who leave or stay."""
    samples = take_samples(log, HORIZON_MS)
    split = split_by_time(log, samples)
    _check(log, split)
    model = fit(split.earlier, log, origin)
    return evaluate(log, split, model, seed)


def fit(samples: Samples, log: ActivityLog, origin: str) -> ChurnModel:
    """Coefficients per unit of each signal; a signal that never varies weighs nothing."""
    mean, spread = samples.signals.mean(axis=0), samples.signals.std(axis=0)
    varies = spread > 1e-9  # noqa: PLR2004 - rounding
    scaled = (samples.signals[:, varies] - mean[varies]) / spread[varies]
    strength = STRENGTH * len(np.unique(samples.users)) / len(samples)
    fitted = LogisticRegression(C=strength, max_iter=1000).fit(scaled, samples.left)
    weights = np.zeros(len(SIGNALS))
    weights[varies] = fitted.coef_[0] / spread[varies]
    intercept = float(fitted.intercept_[0] - (weights * mean).sum())
    named = {name: round(float(weight), 4) for name, weight in zip(SIGNALS, weights, strict=True)}
    return ChurnModel(origin, round(intercept, 4), named, days=round(log.scale, 4))


def evaluate(log: ActivityLog, split: Split, model: ChurnModel, seed: int = 1) -> Evaluation:
    """Measure a model on the later samples."""
    later = split.later
    predicted = predict(model, later.signals)
    before = dict(zip(BASELINES, split.earlier.baselines.T, strict=True))
    after = dict(zip(BASELINES, later.baselines.T, strict=True))
    notes = list(log.notes)
    try:
        bgnbd, known, foreseen = _bgnbd(log, split)
        before[BGNBD], after[BGNBD] = known, foreseen
        notes.append(
            f"BG/NBD: r {bgnbd.r:.3f}, alpha {bgnbd.alpha:.2f} days, a {bgnbd.a:.3f}, b {bgnbd.b:.3f}"
        )
    except NotFittedError as error:
        notes.append(f"BG/NBD can't be fitted: {error}")
    scores = {"the model": predicted} | after
    chances = {"the model": predicted} | {
        name: _as_chances(before[name], split.earlier.left, score) for name, score in after.items()
    }
    rankings = _rankings(scores, chances, later, seed)
    base_rate = float(split.earlier.left.mean())
    numbers = {
        "log": log.name,
        "users": len(log.histories),
        "events": log.events,
        "days": round(log.days, 1),
        "horizon_days": round(DEFAULT_HORIZON_DAYS * log.scale, 2),
        "scale": round(log.scale, 4),
        "leaving": "events that say so" if log.says_leaving else "no activity for a horizon",
        "split_at": format_time(_real(log, split.at)),
        "fitted_on": _part(split.earlier),
        "measured_on": _part(later),
        "notes": notes,
    }
    return Evaluation(
        model,
        rankings,
        _bins(predicted, later.left),
        brier=_rounded(((predicted - later.left) ** 2).mean()),
        brier_of_base_rate=_rounded(((base_rate - later.left) ** 2).mean()),
        numbers=numbers,
    )


def predict(model: ChurnModel, signals: Array) -> Array:
    """The model's probabilities for rows of signals."""
    weights = np.array([model.weights.get(name, 0.0) for name in SIGNALS])
    return np.asarray(1 / (1 + np.exp(-(signals @ weights + model.intercept))))


def _check(log: ActivityLog, split: Split) -> None:
    for name, part in (("earlier", split.earlier), ("later", split.later)):
        leave, stay = int(part.left.sum()), int((~part.left).sum())
        if min(leave, stay) < FEWEST:
            horizon = DEFAULT_HORIZON_DAYS * log.scale
            raise LogError(
                f"{log.name}: in its {name} part {leave} moments come before somebody leaves and {stay} before "
                f"nobody does; at least {FEWEST} of each are needed. The log has {log.days:.0f} days and the horizon "
                f"is {horizon:g}: give a longer log (at least {2.5 * horizon:.0f} days), more users or, for a CSV, "
                "a shorter --horizon"
            )


def _bgnbd(log: ActivityLog, split: Split) -> tuple[BgNbd, Array, Array]:
    """BG/NBD fitted on all that came before the split, and how likely it says that each of both parts leaves.

    Where leaving is silence that is no visit within the horizon, else that they are gone: it knows of no other leaving.
    """
    began = np.array([history.events[0].at for history in log.histories])
    known = np.flatnonzero(began <= split.at)
    model = fit_bgnbd(visits_of(log, known, np.full(len(known), split.at)))

    def leaves(part: Samples) -> Array:
        visits = visits_of(log, part.users, part.at)
        return 1 - model.alive(visits) if log.says_leaving else model.silent(visits, DEFAULT_HORIZON_DAYS)

    return model, leaves(split.earlier), leaves(split.later)


def _as_chances(known: Array, left: Array, score: Array) -> Array:
    """A score as the share that left, in the earlier part, of those who had such a one."""
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(known, left)
    return np.asarray(fitted.predict(score))


def _rankings(
    scores: dict[str, Array], chances: dict[str, Array], later: Samples, seed: int
) -> list[Ranking]:
    """Of each score (the model's first) how it ranks the later part, and how good the chances made of it are."""
    drawn = {name: _aucs_resampled(score, later, seed) for name, score in scores.items()}
    first = next(iter(drawn))
    rankings = []
    for name, aucs in drawn.items():
        low, high = np.quantile(aucs, (0.025, 0.975))
        ahead = None
        if name != first:
            span = np.quantile(drawn[first] - aucs, (0.025, 0.975))
            ahead = (_rounded(span[0]), _rounded(span[1]))
        auc = float(roc_auc_score(later.left, scores[name]))
        brier = float(((chances[name] - later.left) ** 2).mean())
        rankings.append(Ranking(name, _rounded(auc), _rounded(low), _rounded(high), _rounded(brier), ahead))
    return rankings


def _aucs_resampled(score: Array, later: Samples, seed: int) -> Array:
    """AUC of samples in which whole users were drawn with replacement; the same draws for every score."""
    rng = np.random.default_rng(seed)
    _, users = np.unique(later.users, return_inverse=True)
    count = int(users.max()) + 1
    order = np.argsort(score, kind="stable")
    ranked, left, users = score[order], later.left[order], users[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    aucs = []
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)[users]
        leave = np.append(0, np.cumsum(weights * left)[ends])
        stay = np.append(0, np.cumsum(weights * ~left)[ends])
        if leave[-1] and stay[-1]:
            # Of each who leaves: those who stay and rank below, and half of those who rank the same.
            pairs = (np.diff(leave) * (stay[:-1] + np.diff(stay) / 2)).sum()
            aucs.append(pairs / (leave[-1] * stay[-1]))
        else:
            aucs.append(np.nan)
    return np.array(aucs)[~np.isnan(aucs)]


def _bins(predicted: Array, left: Array) -> list[Bin]:
    order = np.argsort(predicted, kind="stable")
    return [
        Bin(len(part), _rounded(predicted[part].mean()), _rounded(left[part].mean()))
        for part in np.array_split(order, BINS)
        if len(part)
    ]


def _part(samples: Samples) -> dict[str, int]:
    users = len(np.unique(samples.users))
    return {"moments": len(samples), "users": users, "before_leaving": int(samples.left.sum())}


def _real(log: ActivityLog, at: int) -> int:
    return log.starts_at + round((at - log.starts_at) * log.scale)


def _rounded(number: Any) -> float:
    return round(float(number), 4)
