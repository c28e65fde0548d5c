"""The fit knows nothing of the later part of a log, and says honestly how well it does there."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from cli.main import success
from replay.churn import fit as fit_module
from replay.churn.fit import (
    HORIZON_MS,
    Evaluation,
    Split,
    _aucs_resampled,
    fit,
    fit_and_evaluate,
    predict,
    split_by_time,
)
from replay.churn.model_file import model_toml
from replay.churn.samples import Samples, take_samples
from replay.impact.world import agents_log
from replay.log.activity_log import LEFT, ActivityLog, Fields, History, LogError, PlainEvent, log_of
from scoring.health.churn import SIGNALS, parse_model, probability
from scoring.time import DAY

START = 20_458 * DAY
AGENTS = (350, 150, 2)
"""How many, days, seed."""


@pytest.fixture(scope="module")
def log() -> ActivityLog:
    """Some hundred agents, most of whom log in now and then, some of whom leave."""
    return agents_log(*AGENTS)


@pytest.fixture(scope="module")
def samples(log: ActivityLog) -> Samples:
    return take_samples(log, HORIZON_MS)


@pytest.fixture(scope="module")
def split(log: ActivityLog, samples: Samples) -> Split:
    return split_by_time(log, samples)


@pytest.fixture(scope="module")
def evaluation(log: ActivityLog) -> Evaluation:
    return fit_and_evaluate(log, "fitted on a test")


@pytest.fixture(scope="module")
def ended_samples(log: ActivityLog, split: Split) -> Samples:
    """What would be seen, had nothing happened after the split."""
    return take_samples(without_what_comes_after(log, split.at), HORIZON_MS)


def without_what_comes_after(log: ActivityLog, moment: int) -> ActivityLog:
    """The same log (of the same length) in which nothing happened after a moment."""
    cut = [History(each.id, [event for event in each.events if event.at <= moment]) for each in log.histories]
    return replace(log, histories=cut)


def test_the_fit_is_the_same_whatever_happens_after_the_split(log, split, ended_samples):
    again = split_by_time(log, ended_samples)
    assert len(again.later) > 0
    assert fit(again.earlier, log, "x").weights == fit(split.earlier, log, "x").weights


def test_that_check_would_catch_labels_that_look_over_the_split(log, samples, split, ended_samples):
    """Without the gap of one horizon before the split, what comes after it would be in the fit."""
    leaking = fit(samples.where(samples.at <= split.at), log, "x")
    ended = fit(ended_samples.where(ended_samples.at <= split.at), log, "x")
    assert leaking.weights != ended.weights


def test_what_is_known_at_a_moment_does_not_depend_on_what_comes_later(samples, split, ended_samples):
    before, after = samples.where(samples.at <= split.at), ended_samples.where(ended_samples.at <= split.at)
    assert np.array_equal(before.signals, after.signals)
    assert np.array_equal(before.baselines, after.baselines)
    assert not np.array_equal(before.left, after.left)  # only the label looks ahead


def test_parts_do_not_overlap_and_lie_a_horizon_apart(split):
    assert split.earlier.at.max() + HORIZON_MS <= split.at <= split.later.at.min()


def test_leaving_that_nothing_announces_can_not_be_foreseen():
    """People who log in by chance and leave by chance: AUC near a half, for a leak would show as foresight."""
    rng = random.Random(4)  # noqa: S311 - a simulation
    found = {}
    for number in range(700):
        leaves = rng.expovariate(1 / 150)
        days = [day for day in range(140) if rng.random() < 0.4 and day < leaves]
        told = [PlainEvent("supplier.signed_up", START, f"{number}", "/t", Fields())]
        told += [
            PlainEvent("supplier.logged_in", START + day * DAY + 9, f"{number}/{day}", "/t", Fields())
            for day in days
        ]
        if leaves < 140:
            told.append(PlainEvent(LEFT, START + int(leaves * DAY), f"{number}/x", "/t", Fields()))
        found[str(number)] = told
    evaluation = fit_and_evaluate(log_of("chance", found), "x")
    assert evaluation.rankings[0].low < 0.5 < evaluation.rankings[0].high


def test_it_beats_bgnbd_and_the_baselines_on_the_simulated_population(evaluation):
    model, *baselines = evaluation.rankings
    assert [each.name for each in baselines] == [
        "days since the last login",
        "health score",
        "event frequency",
        "BG/NBD",
    ]
    assert all(model.auc > baseline.auc for baseline in baselines)
    assert all(model.brier < baseline.brier for baseline in baselines)
    assert model.brier == evaluation.brier
    assert evaluation.brier < evaluation.brier_of_base_rate
    assert sum(each.samples for each in evaluation.bins) == evaluation.numbers["measured_on"]["moments"]
    assert evaluation.bins[-1].observed > 2 * evaluation.bins[0].observed


def test_the_written_file_gives_the_same_probabilities(evaluation, samples):
    model = parse_model(model_toml(evaluation, "success fit-churn x"), "x.toml")
    signals = samples.signals[:50]
    by_row = [probability(dict(zip(SIGNALS, row, strict=True)), model) for row in signals]
    assert by_row == pytest.approx(predict(evaluation.model, signals), abs=1e-4)
    assert model.provenance["made_by"] == "success fit-churn x"
    assert model.provenance["measured_on"] == evaluation.numbers["measured_on"]


@pytest.mark.parametrize(
    ("model", "recency", "worse_than"),
    [
        (0.449, 0.4, "chance (AUC 0.449)"),
        (0.6, 0.65, "days since the last login (AUC 0.600 and 0.650)"),
        (0.66, 0.65, None),
    ],
)
def test_a_model_that_ranks_worse_than_chance_or_the_last_login_is_not_written_unless_told(
    evaluation: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: float,
    recency: float,
    worse_than: str | None,
) -> None:
    first, second, *others = evaluation.rankings
    found = replace(evaluation, rankings=[replace(first, auc=model), replace(second, auc=recency), *others])
    monkeypatch.setattr(fit_module, "fit_and_evaluate", lambda *_, **__: found)
    out = tmp_path / "churn.toml"
    line = ["fit-churn", "--simulated", "--suppliers", "50", "--out", str(out), "--json"]
    assert found.worse_than() == worse_than
    done = CliRunner().invoke(success, line)
    assert (done.exit_code, out.exists()) == ((0, True) if worse_than is None else (1, False))
    assert worse_than is None or worse_than in done.output
    assert CliRunner().invoke(success, [*line, "--anyway"]).exit_code == 0
    assert out.exists()


def test_the_same_log_and_seed_give_the_same_answer(evaluation):
    again = fit_and_evaluate(agents_log(*AGENTS), "fitted on a test")
    assert again.as_json() == evaluation.as_json()


def test_resampled_areas_lie_around_the_area_that_scikit_learn_works_out(split):
    later = split.later
    score = later.baselines[:, 2]  # with many ties
    assert np.mean(_aucs_resampled(score, later, 1)) == pytest.approx(
        roc_auc_score(later.left, score), abs=0.02
    )


def test_a_log_that_is_too_short_is_refused_with_what_would_do():
    with pytest.raises(LogError, match=r"earlier part .* \(at least 75 days\)"):
        fit_and_evaluate(agents_log(60, 50, 1), "x")
