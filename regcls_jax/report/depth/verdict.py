"""The verdict on a depth study: the arm with classes that validation takes, against reg and the mean of every pixel."""

import numpy as np

from regcls_jax.report.depth.study import DepthStudy
from regcls_jax.report.depth.tables import QUESTION, error_groups, rmse_difference
from regcls_jax.report.effects import effects
from regcls_jax.report.tables import label
from regcls_jax.report.trainings import judged_arm, judged_baselines
from regcls_jax.report.verdicts import Against, verdict


def depth_verdict(study: DepthStudy) -> str:
    """As Markdown: the RMSE over all pixels of the test images."""
    rows = study.rows[(study.rows["split"] == "val") & (study.rows["shot"] == "all")]
    means = rows[rows["selected_on"] == "val"].groupby("arm")["rmse"].mean()
    arm = judged_arm(study.configs, means.reindex(list(study.chosen.values())).set_axis(list(study.chosen)))
    baselines = (*judged_baselines(arm, study.configs), "pixel_mean")
    found = effects(QUESTION, error_groups(study)[:1], [(arm, baseline) for baseline in baselines])
    roots = [float(np.sqrt(effect.pairs["baseline"].mean())) for effect in found]
    against = [
        Against(label(effect.baseline), *rmse_difference(effect), root)
        for effect, root in zip(found, roots, strict=True)
    ]
    beside = {label(arm): float(np.sqrt(found[0].pairs["arm"].mean()))} if found else {}
    beside |= {each.baseline: each.level for each in against}
    note = "95 % intervals over seeds and images; of several arms with classes the one with the lowest validation error"
    return verdict(label(arm), against, error="test RMSE (m)", note=note, beside=beside)
