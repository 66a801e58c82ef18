"""What a page says below a figure, and to those who do not see it."""

# By the name of the study and of the file, or by the name of the file alone.
CAPTIONS = {
    "fig3/answer": "What classes change in test MSE against plain regression, and against regression with the same λ "
    "and no classes: mean paired differences with two-way 95 % intervals; left of zero the classes help.",
    "fig3/figure": "The paper's Fig. 3: test MSE over the number of classes, scenarios down and samplings across.",
    "fig3/differences": "Paired differences in test MSE from plain regression and from reg×λ over the number of "
    "classes, with two-way 95 % intervals; the published mean differences as diamonds.",
    "fig4/figure": "The paper's Fig. 4: validation MSE over λ, by validation set, scenario and sampling.",
    "tab1/figure": "Validation MSE over λ, by validation set, scenario and sampling: what Table 1 is counted from.",
    "fig5/figure": "The paper's Fig. 5: test MSE over the number of classes, noise levels down and samplings across.",
    "fig5/differences": "Paired differences in test MSE from plain regression over the number of classes, with two-way "
    "95 % intervals; the published mean differences, which exist at σ = 0.1 alone, as diamonds.",
    "fair/figure": "Expected test MSE of the setting that validation picks, over the budget of trainings, and paired "
    "differences from reg with their two-way 95 % intervals.",
    "fair/differences": "Paired differences in test MSE when every arm is tuned with the whole budget.",
    "capacity/figure": "Test MSE over the size of the model, each arm at its best setting; optimisers across.",
    "capacity/heat": "Validation MSE over learning rate and scale of the loss, by size, optimiser and arm.",
    "theory/figure": "The quantities of section 2.2 over epochs, down, in the cells of the study, across.",
    "theory/coarsening": "What coarser classes do to the imbalance that a classifier sees.",
    "baselines/figure": "Every method against plain regression and against reg×λ, on imbalanced and uniform data.",
    "own/figure": "The change by every arm against plain regression, on all rows and on rare targets, and where the "
    "rows lie.",
    "sts_b_dir/figure": "Every arm's squared error less that of reg, over all, many-, medium- and few-shot pairs.",
    "remedies_1d/figure": "The change of the test MSE by every remedy, over all targets and by shot.",
    "tab5/figure": "Progress of videos: the arms beside the predictors that need no network.",
    "tables/effects": "Every arm against plain regression over all tables.",
    "tables/ranks": "Mean ranks of the arms over all tables; bars join those that do not clearly differ.",
    "tables/imbalance": "What classes and weighting change, over how uneven the targets of a table are.",
    "effects": "Every arm against the baseline: mean paired differences in test MSE with 95 % intervals.",
    "training_curves": "Validation error over epochs: means over seeds, and every seed in a thin line.",
    "depth_maps": "True depth and what the arms predict, of a few test images.",
}
# Names that end with what is predicted.
BEGINNINGS = {
    "prediction_versus_": "Prediction over the true {}, arm by arm: mean and standard deviation, and the samples.",
    "error_by_": "Test error over the true {}, above the histogram of the training targets; bands span the seeds.",
}


def caption(study: str, stem: str) -> str:
    """The caption of a figure of the study of that name; its own name in words where there is none."""
    if found := CAPTIONS.get(f"{study}/{stem}", CAPTIONS.get(stem)):
        return found
    for beginning, text in BEGINNINGS.items():
        if stem.startswith(beginning):
            return text.format(stem.removeprefix(beginning).replace("_", " "))
    words = stem.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}."
