"""What determines a data set of the controlled 1-D study (section 2.1 of the paper)."""

import dataclasses
import math

from regcls_jax.checks import check_integer, is_real
from regcls_jax.data.synthetic.bin_sampling import BINS

SCENARIOS = ("clean", "noisy", "ood")
SAMPLINGS = ("uniform", "mild", "moderate", "severe")
NOISE_KINDS = ("gaussian", "uniform")
TRAINING_SEEDS = (0, 421, 8125, 2481, 849)  # go with repetitions 0-4
PEAK_MINIMUM = {"clean": 5, "noisy": 5, "ood": 1}  # samples per bin besides the peak


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Everything that determines one data set. The defaults are the published code.

    Scenario "clean" has exact targets, "noisy" adds noise to the targets of all splits, "ood" gives every
    split its own intervals of x. Sampling "uniform" spreads the targets evenly, the others favour a window of
    60, 20 or 6 % of their range ("mild", "moderate", "severe"). Where the text of the paper differs from the
    code, an option follows the text (recipes 4.1, items 1, 2 and 4).

    Attributes:
      scenario: one of SCENARIOS.
      sampling: one of SAMPLINGS.
      function: index into `functions`; the paper has 0-9, further ones continue its stream.
      repetition: index into `data_seeds`; the paper has 0-4, further ones continue its stream.
      noise: standard deviation of the noise on the targets; only scenario "noisy" has noise.
      noise_kind: "gaussian" (code) or "uniform" (paper, Fig. 1). Uniform noise spans ±sqrt(3)·noise: it has
        the same standard deviation and so leaves the same floor noise² under a test MSE.
      total: samples aimed at over the three splits; 60_000 (code) or 30_000 (text of the paper).
      peak_share: share of the samples that imbalanced sampling takes from the peak. None is the code: 90.6 %
        of a clean set, the rest from the whole range, the peak included. A number is kept exactly, with the
        rest from outside the peak; the text of the paper has .75.
      by_shots: whether errors are also summed over ranges of the target with many, medium and few training samples
        (`data.ranges`). The data are the same.

    Raises:
      ValueError: a field is out of range.
    """

    scenario: str
    sampling: str
    function: int
    repetition: int
    noise: float = 0.1
    noise_kind: str = "gaussian"
    total: int = 60_000
    peak_share: float | None = None
    by_shots: bool = False

    def __post_init__(self) -> None:
        for name, known in (("scenario", SCENARIOS), ("sampling", SAMPLINGS), ("noise_kind", NOISE_KINDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        if not is_real(self.noise) or not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be a finite number of at least 0, not {self.noise!r}")
        if self.peak_share is not None and not (is_real(self.peak_share) and 0 < self.peak_share < 1):
            raise ValueError(f"peak_share must be None or a number between 0 and 1, not {self.peak_share!r}")
        check_integer("function", self.function, 0)
        check_integer("repetition", self.repetition, 0)
        check_integer("total", self.total, self._least_total())

    def _least_total(self) -> int:
        """The fewest samples that give every bin one draw and (published code) the peak any draw at all."""
        if self.sampling == "uniform" or self.peak_share is not None:
            return BINS
        pools = 9 if self.scenario == "ood" else 1
        return BINS * pools * (PEAK_MINIMUM[self.scenario] + 1)

    def content(self) -> tuple[str | int | float | None, ...]:
        """Plain values of the fields that matter: specs of equal content have equal data."""
        noisy, peaked = self.scenario == "noisy", self.sampling != "uniform"
        return (
            *(self.scenario, self.sampling, int(self.function), int(self.repetition), int(self.total)),
            *((float(self.noise), self.noise_kind) if noisy else (None, None)),
            float(self.peak_share) if peaked and self.peak_share is not None else None,
        )

    @property
    def name(self) -> str:
        """The data set by name, for messages."""
        return f"{self.scenario}/{self.sampling}/function {self.function}/repetition {self.repetition}"

    @property
    def seed(self) -> int:
        """The training seed that goes with the repetition: the five published ones, then the repetition's number."""
        return TRAINING_SEEDS[self.repetition] if self.repetition < len(TRAINING_SEEDS) else self.repetition

    @property
    def key(self) -> int:
        """The function: models of different functions start from different weights.

        In the published code all functions of a repetition share the initial weights, so a mean over functions says
        less.
        """
        return self.function

    @property
    def shared(self) -> "DataSpec":
        """Every data set has its own inputs."""
        return self

    def columns(self) -> dict[str, str | int | float | None]:
        """What a result row says of the data set; without noise the noise is 0."""
        own = {name: value for name, value in dataclasses.asdict(self).items() if name != "by_shots"}
        named = {"dataset": "synthetic_1d", "target": "y", "unit": ""}
        return {**named, **own, "noise": self.noise if self.scenario == "noisy" else 0.0}
