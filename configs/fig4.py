"""Fig. 4: validation MSE of reg+cls over lambda and class counts, with the control that scales reg by the same lambda.

    python launch/study.py --config=configs/fig4.py --workdir=runs/fig4                 # about 70 min on two cores
    python launch/study.py --config=configs/fig4.py:quick --workdir=runs/fig4-quick     # 3 min: a small one first
    python launch/study.py --config=configs/fig4.py:runlocal --workdir=runs/fig4-local  # seconds: does it run?

configs/tab1.py trains all of this and the balanced classes of Table 1, and its report holds Fig. 4 as well: run this
one only where Fig. 4 is all that is wanted.

Recipe (paper sections 2.1 and 3.1; recipes 4.1): 10 functions x 3 repetitions x 4 samplings, scenarios clean and noisy
with their published learning rates 1e-3 and 1e-2; eight lambda; MLP 1-6-15-1 with a class head, Adam with coupled
weight decay 1e-3 on everything, batch 256, 80 epochs, last epoch; reg and reg+cls start from different weights. The
paper evaluates "on the validation set". In the released 1d/demo.sh that is the uniform one (evalset='val';
recipes 4.1-11), so `val_balanced` is the counterpart of the published numbers; the report also has `val`, of the
training's own sampling.

Arms: reg (lambda 1, as published); reg_cls; the controls reg_x_lambda (the regression loss times lambda, no classes:
weight decay is coupled, so lambda alone is a weaker decay) and reg_no_decay.
Expected (published): the best lambda is 1e2 for clean and 1e3 for noisy data; there is a lambda at which reg+cls beats
reg where the sampling is imbalanced.
"""

from ml_collections import ConfigDict

from configs import tab1
from regcls_jax.config import check_variant


def get_config(variant: str = "full") -> ConfigDict:
    """The config of one variant: full, quick or runlocal."""
    check_variant(__file__, variant, ("full", "quick", "runlocal"))
    config = tab1.get_config(variant)
    config.name = "fig4"
    del config.arms.reg_cls_bal
    return config
