"""The settings of a training that both engines share: loss, classes, sample weights and optimisation."""

import dataclasses
from typing import Any

from regcls_jax import optimizer as optimizers
from regcls_jax.binning import DECODINGS, ROUNDINGS
from regcls_jax.checks import check_fields, check_integer, choice, not_negative, positive, whole
from regcls_jax.imbalance import BOUNDARIES, KERNELS, METHODS
from regcls_jax.losses.registry import AUXILIARY, HYPERPARAMETERS, REGRESSION, AuxiliaryLoss, RegressionLoss
from regcls_jax.objectives import REDUCTIONS

OUTPUTS = ("target", "standardised")
BUCKET_POINTS = ("centre", "mean")
# What may predict: the value head, the class probabilities by a rule, or the head of the auxiliary loss.
DECODED = ("value", *DECODINGS, "head")

# One field per hyperparameter of the registered losses, so that a new loss adds its own. Any: made at run time.
_Hyperparameters: Any = dataclasses.make_dataclass(
    "_Hyperparameters",
    [
        (name, float, (not_negative if hyperparameter.zero else positive)(hyperparameter.default))
        for name, hyperparameter in HYPERPARAMETERS.items()
    ],
    frozen=True,
    kw_only=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(_Hyperparameters):
    """A loss and its optimisation. Configs, result rows and the command line use the same field names.

    loss = scale * (lam * regression + auxiliary) (Eq. 3 and 4). The hyperparameters of the registered losses
    (`losses.registry`) are further fields.

    Raises:
      ValueError: an invalid value; the message names the arm and the field.
    """

    # Loss
    regression: str = choice("squared_error", REGRESSION)  # of the predicted value
    lam: float = positive(1.0)  # lambda: weight of the regression loss, with or without classes
    scale: float = positive(1.0)  # of the whole loss; the published "reg + cls / lambda" is scale = 1 / lambda
    # Of the regression loss over a batch; "sum", published for videos, is the mean with lam times the batch size.
    reduction: str = choice("mean", REDUCTIONS)
    output: str = choice("target", OUTPUTS)  # of the value head: the target, or its z-score
    loss_in: str = choice("target", ("target", "std"))  # errors in target units, or in standard deviations
    noise_sigma: float = positive(1.0)  # Balanced MSE: initial noise scale (target units)
    noise_learning_rate: float = not_negative(1e-2)  # Balanced MSE: for the noise scale (its own Adam); 0: fixed
    components: int = whole(8, 1)  # Gaussians in the mixture fitted to p~(y)
    mixture_per: int = whole(1, 1)  # training targets that one value stands for which it is fitted to (NYUD2: 1000000)

    # Classes
    classes: int = whole(0, 0)  # 0: plain regression; else classes of the class head, before equalisation
    auxiliary: str = choice("classification", AUXILIARY)  # loss added to the regression, by default of the class head
    balanced: bool = False  # equalised classes and keep masks (Eq. 12 and 13)
    rounding: str = choice("ceil", ROUNDINGS)  # of equalisation: "ceil" published 1-D code, "round" image code
    low: float | None = None  # lower end of the classes (target units); None: `low_quantile` of the training targets
    high: float | None = None  # upper end; None: `high_quantile` of the training targets
    low_quantile: float = not_negative(0.0)  # 0: the smallest training target
    high_quantile: float = positive(1.0)  # 1: the largest
    # What predicts: the value head; the class probabilities, decoded by a rule of `binning.decode`; or the "head" that
    # some auxiliary losses have of their own (uvote, evidential).
    decoded: str = choice("value", DECODED)

    # Weights by the density of the targets
    # Weights of the regression loss: inverse density, its root, or DenseWeight (the loop: its means in buckets). The
    # auxiliary losses uvote and evidential take them in its place.
    reweight: str = choice("none", (*METHODS, "dense"))
    dense_alpha: float = positive(1.0)  # DenseWeight: how much the density counts
    buckets: int = whole(100, 1)  # uniform buckets of the density histogram
    bucket_low: float | None = None  # lower end of the buckets (target units); None: smallest training target
    bucket_high: float | None = None  # upper end; None: largest training target
    bucket_start: int = whole(0, 0)  # first bucket that counts; those before it are taken to be as full (NYUD2: 7)
    bucket_point: str = choice("centre", BUCKET_POINTS)  # BNI: where a bucket's mass is; "mean" suits whole years
    clip_low: float = not_negative(0.0)  # counts are limited to [clip_low, clip_high] ...
    clip_high: float = not_negative(0.0)  # ... if this is above 0
    lds: bool = False  # smooth the counts (label distribution smoothing)
    lds_kernel: str = choice("gaussian", KERNELS)
    lds_size: int = whole(5, 1)  # buckets, odd
    lds_sigma: float = positive(2.0)  # buckets
    lds_boundary: str = choice("constant", BOUNDARIES)  # beyond the buckets: zeros, or mirrored counts (NYUD2)
    lds_truncate: bool = False  # round smoothed counts down: published for "inverse", not for "sqrt_inv"

    # Optimisation
    optimizer: str = choice("adam", optimizers.NAMES)
    learning_rate: float = positive(1e-3)
    schedule: str = choice("constant", optimizers.SCHEDULES)  # "cosine" falls to 0 over all steps
    boundaries: tuple[int, ...] = ()  # epochs at whose end the learning rate is multiplied by .1
    weight_decay: float = not_negative(0.0)
    decay: str = choice("coupled", optimizers.DECAYS)  # "coupled" (torch.optim.Adam, published) or "decoupled" (AdamW)
    decayed: str = choice("all", optimizers.DECAYED)  # what decays: all parameters, or kernels (no bias, no norm)
    momentum: float = not_negative(0.9)  # of SGD
    sam_rho: float = not_negative(0.0)  # radius of sharpness-aware minimisation (BSAM with weights); 0: none
    batch_size: int = whole(256, 1)
    epochs: int = whole(80, 1)

    @property
    def where(self) -> str:
        """Starts every error message; a run names its arm."""
        return "method"

    @property
    def loss(self) -> RegressionLoss:
        """The registered regression loss."""
        return REGRESSION[self.regression]

    @property
    def auxiliary_loss(self) -> AuxiliaryLoss | None:
        """The registered auxiliary loss; None for plain regression: it reads classes, and there are none."""
        loss = AUXILIARY[self.auxiliary]
        return loss if self.classes or not loss.classes else None

    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters of the losses in use: field -> value."""
        known = [*self.loss.hyperparameters]
        if self.auxiliary_loss:
            known += self.auxiliary_loss.hyperparameters
        return {name: getattr(self, name) for name in known}

    def __post_init__(self) -> None:
        where = self.where
        check_fields(where, self)
        if self.classes == 1:
            raise ValueError(f"{where}: classes must be 0 (plain regression) or at least 2, got {self.classes}")
        of_classes = AUXILIARY[self.auxiliary].classes
        for field, given in (
            ("balanced", self.balanced),
            ("auxiliary", of_classes and self.auxiliary != "classification"),
        ):
            if given and not self.classes:
                raise ValueError(f"{where}: {field} {getattr(self, field)!r} needs classes >= 2")
        if self.classes and not of_classes:
            raise ValueError(f"{where}: auxiliary {self.auxiliary!r} reads no classes; set classes to 0")
        if self.decoded in DECODINGS and not self.classes:
            raise ValueError(f"{where}: decoded {self.decoded!r} reads class probabilities; set classes, too")
        if self.decoded == "head" and not AUXILIARY[self.auxiliary].head:
            with_head = ", ".join(name for name, loss in AUXILIARY.items() if loss.head)
            raise ValueError(f"{where}: decoded 'head' reads a head that auxiliary has: {with_head}")
        if AUXILIARY[self.auxiliary].weights == "needed" and self.reweight == "none":
            raise ValueError(f"{where}: auxiliary {self.auxiliary!r} needs weights; set reweight, too")
        for field in ("lds", "clip_high"):
            if getattr(self, field) and self.reweight == "none":
                raise ValueError(f"{where}: {field} has no effect without re-weighting; set reweight, too")
        if self.sam_rho and self.loss.noise:
            raise ValueError(
                f"{where}: sam_rho is a radius among weights; {self.regression!r} learns a noise scale, too"
            )
        if self.reweight == "dense" and (self.lds or self.clip_high):
            raise ValueError(f"{where}: reweight 'dense' has no buckets that lds or clip_high could change")
        if self.loss_in == "std" and (self.output != "standardised" or self.loss.prior != "none"):
            raise ValueError(
                f"{where}: loss_in 'std' needs output 'standardised' and a regression loss without a prior"
            )
        if self.lds_size % 2 == 0:
            raise ValueError(f"{where}: lds_size must be odd, got {self.lds_size}")
        if self.bucket_start >= self.buckets:
            raise ValueError(f"{where}: bucket_start {self.bucket_start} is none of the {self.buckets} buckets")
        if self.clip_low > self.clip_high:
            raise ValueError(f"{where}: clip_low {self.clip_low} is above clip_high {self.clip_high}")
        for low, high in (("low", "high"), ("bucket_low", "bucket_high")):
            ends = getattr(self, low), getattr(self, high)
            if None not in ends and not ends[0] < ends[1]:
                raise ValueError(f"{where}: {low} {ends[0]} is not below {high} {ends[1]}")
        if not self.low_quantile < self.high_quantile <= 1:
            raise ValueError(f"{where}: quantiles must be 0 <= low < high <= 1")
        if not isinstance(self.boundaries, tuple):
            raise ValueError(f"{where}: boundaries must be a tuple of epochs, got {self.boundaries!r}")
        for boundary in self.boundaries:
            check_integer(f"{where}: an epoch in boundaries", boundary, 1)
        if self.schedule != "constant" and self.boundaries:
            raise ValueError(f"{where}: boundaries go with schedule 'constant', not {self.schedule!r}")
