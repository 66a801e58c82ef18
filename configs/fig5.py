"""Fig. 5: test MSE of reg, reg+cls and reg+cls with balanced classes over the noise on the targets.

    python launch/study.py --config=configs/fig5.py --workdir=runs/fig5                 # about 35 min on two cores
    python launch/study.py --config=configs/fig5.py:quick --workdir=runs/fig5-quick     # 3 min: a small one first
    python launch/study.py --config=configs/fig5.py:runlocal --workdir=runs/fig5-local  # seconds: does it run?

Recipe (paper section 3.1; recipes 4.1 and 4.2): scenario noisy with Gaussian noise of standard deviation .05, .1 and .5
on the targets of all splits, so that no test MSE can be below .0025, .01 and .25; 10 functions x 5 repetitions x 4
samplings; lambda 1e3 and learning rate 1e-2 at every noise level, as published for .1; everything else as in
configs/fig3.py. Balanced classes as in configs/tab1.py; their original number is the one on the axis, how many are left
after equalisation is in the table. Test on the uniform sampling with the same noise.

Arms: reg; reg_cls; reg_cls_bal; the controls reg_x_lambda (the regression loss times the same lambda, no classes) and
reg_no_decay. Expected: the paper has the plot only ("the benefits ... remain visible" where the sampling is imbalanced;
balanced classes are "typically 2x" fewer); at .1, Fig. 3's noisy row: severe .393 -> .236.
"""

from ml_collections import ConfigDict

from configs import fig3
from regcls_jax.config import check_variant


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = fig3.get_config("full")
    config.name = "fig5"
    config.data.scenarios, config.data.noise = ("noisy",), (0.05, 0.1, 0.5)
    del config.arms.reg_cls_no_decay
    config.arms.reg_cls_bal = {"classes": fig3.CLASSES, "balanced": True}
    if variant == "quick":
        config.data.functions, config.data.repetitions = 5, 2
        config.arms.reg_cls.classes = config.arms.reg_cls_bal.classes = (4, 16, 64)
    elif variant == "runlocal":
        fig3.shrink(config)
        config.data.scenarios, config.data.noise = ("noisy",), (0.05, 0.5)
        config.arms.reg_cls.classes = config.arms.reg_cls_bal.classes = (4, 64)
    return config
