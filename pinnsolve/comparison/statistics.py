"""Statistics of repeated runs: medians with intervals, ranks with tests, performance profiles.

A run without a result (failed, diverged, NaN) counts as an infinite error: it is worse than all others, and is
neither left out nor averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median and an interval between two order statistics.

    Attributes:
        median: of all values.
        low, high: the ends.
        coverage: the probability that such an interval holds the median of the distribution, whatever it is.
        count: of values.
    """

    median: float
    low: float
    high: float
    coverage: float
    count: int


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    r"""Return the median and the narrowest symmetric interval of order statistics with this confidence.

        P(x_(k) ≤ m ≤ x_(n+1-k)) = 1 - 2 F(k - 1; n, 1/2),    F the binomial distribution

    holds for every continuous distribution; with fewer than 6 values no interval reaches 95 %, and the range of
    all values stands, with its own coverage, 1 - 2^(1-n).

    Args:
        values: errors; infinite ones are runs without a result. NaN counts as infinite.
        confidence: in (0, 1).

    Raises:
        ValueError: there is no value.

    Source: Conover (1999), Practical Nonparametric Statistics, section 3.2.
    """
    if not len(values):
        raise ValueError("a median needs at least one value, got none")
    ordered = np.sort(np.where(np.isnan(values), math.inf, values))
    count = len(ordered)
    ranks = [k for k in range(1, (count + 1) // 2 + 1) if _coverage(k, count) >= confidence]
    rank = max(ranks, default=1)
    middle = ordered[(count - 1) // 2], ordered[count // 2]
    low, high = float(ordered[rank - 1]), float(ordered[count - rank])
    return Interval(float(sum(middle) / 2), low, high, _coverage(rank, count), count)


def _coverage(rank: int, count: int) -> float:
    return max(1.0 - 2.0 * float(stats.binom.cdf(rank - 1, count, 0.5)), 0.0)


def average_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each method's mean rank (K,) over blocks, 1 the best; ties share their mean rank.

    Args:
        scores: errors (blocks, K), the smaller the better; infinite ones tie for the last place.
    """
    ranks: NDArray[np.float64] = stats.rankdata(np.nan_to_num(scores, nan=math.inf, posinf=math.inf), axis=1).mean(0)
    return ranks


@dataclass(frozen=True)
class RankTest:
    """Whether methods differ at all.

    Attributes:
        name: of the test.
        statistic: its value; None where the test says nothing.
        p_value: the probability of ranks this far apart if all methods are alike; None likewise.
        note: why it says nothing.
    """

    name: str
    statistic: float | None
    p_value: float | None
    note: str = ""


def friedman(scores: NDArray[np.float64]) -> RankTest:
    """Return Friedman's test on errors (blocks, K); for two methods the sign test.

    Source: Demšar (2006), J. Mach. Learn. Res. 7, 1-30.
    """
    blocks, methods = scores.shape
    name = "Friedman" if methods > 2 else "sign"
    if methods < 2 or blocks < 2:
        return RankTest(name, None, None, f"a test needs two blocks and two methods; there are {blocks} and {methods}")
    known = np.nan_to_num(scores, nan=np.finfo(float).max, posinf=np.finfo(float).max)
    if methods == 2:
        signs = np.sign(known[:, 0] - known[:, 1])
        wins, decided = int((signs < 0).sum()), int((signs != 0).sum())
        if not decided:
            return RankTest(name, None, None, "all blocks are ties")
        return RankTest(name, float(wins), float(stats.binomtest(wins, decided).pvalue))
    if np.all(known == known[:, :1]):
        return RankTest(name, None, None, "all blocks are ties")
    statistic, p_value = stats.friedmanchisquare(*known.T)
    return RankTest(name, float(statistic), float(p_value))


def nemenyi_distance(methods: int, blocks: int, significance: float = 1 - CONFIDENCE) -> float:
    r"""Return the difference of mean ranks from which two methods differ.

        CD = q √(K (K + 1) / (6 N)),    q = Q(1 - α; K, ∞) / √2,    Q the quantile of the studentized range

    Args:
        methods: K, at least 2.
        blocks: N, at least 1.
        significance: α.

    Source: Nemenyi (1963); Demšar (2006), J. Mach. Learn. Res. 7, 1-30, table 5: q = 2.343 for K = 3, α = 0.05.
    """
    if methods < 2 or blocks < 1:
        raise ValueError(f"two methods and a block are needed, got {methods} and {blocks}")
    quantile = float(stats.studentized_range.ppf(1 - significance, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))


def performance_profile(costs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return ratios τ (M,) and the profiles ρ (M, K): the share of tasks that each method does within τ of the best.

        ρ_s(τ) = |{p : t_ps ≤ τ min_s t_ps}| / P

    Args:
        costs: t (P, K), positive; infinity where a method does not do the task. A task that none does counts in P.

    Source: Dolan, Moré (2002), Math. Program. 91, 201-213.
    """
    if costs.ndim != 2 or not costs.size or not np.all(costs > 0):
        raise ValueError(f"costs are positive, one row per task and one column per method; got shape {costs.shape}")
    best = costs.min(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(costs), costs / best, math.inf)
    taus = np.unique(np.append(ratios[np.isfinite(ratios)], 1.0))
    shares = (ratios[None] <= taus[:, None, None]).mean(1)
    return taus, shares
