"""The verdict on an image study: the arm with classes that validation takes, against reg, its control, the median."""

from regcls_jax.report.effects import effects
from regcls_jax.report.images.study import ImageStudy
from regcls_jax.report.images.tables import QUESTION, error_groups
from regcls_jax.report.tables import label
from regcls_jax.report.trainings import judged_arm, judged_baselines
from regcls_jax.report.verdicts import difference, effects_verdict, of_effect


def image_verdict(study: ImageStudy) -> str:
    """As Markdown: the absolute error over all test images, and over those of few-shot targets."""
    rows = study.rows[(study.rows["split"] == "val") & (study.rows["shot"] == "all")]
    arm = judged_arm(study.configs, rows.groupby("arm")["mae"].mean())
    pairs = [(arm, baseline) for baseline in (*judged_baselines(arm, study.configs), "median")]
    groups = error_groups(study, dict.fromkeys(name for pair in pairs for name in pair))
    every = {group.names["group"]: effects(QUESTION, [group], pairs) for group in groups}
    note = "95 % intervals over seeds and images; of several arms with classes the one with the lowest validation error"
    said = effects_verdict(every["all"], error=f"test MAE{study.target.in_unit}", note=note)
    if few := every.get("few"):
        against = (f"against {label(each.baseline)} {difference(of_effect(each))}" for each in few)
        said += f" On few-shot targets: {'; '.join(against)}."
    return said
