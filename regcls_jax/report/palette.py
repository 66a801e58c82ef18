"""The colours, markers and lines of all figures: Okabe and Ito's, which colour-blind readers tell apart."""

from collections.abc import Mapping
from typing import Any

BLACK, GREY = "#000000", "#737373"
BLUE, SKY, GREEN = "#0072b2", "#56b4e9", "#009e73"
ORANGE, VERMILION, PURPLE = "#e69f00", "#d55e00", "#cc79a7"
# Neither Okabe's nor Ito's: for the eighth arm of a panel.
BROWN = "#8c510a"

# reg, reg+cls and reg+cls bal go from dark to light, so that they differ in grey print; the controls are broken lines.
STYLES: Mapping[str, dict[str, Any]] = {
    "reg": {"color": BLACK, "linewidth": 2.0},
    "reg_cls": {"color": BLUE, "linewidth": 2.0, "marker": "o", "markersize": 5},
    "reg_cls_bal": {"color": ORANGE, "linewidth": 2.0, "marker": "s", "markersize": 5},
    "reg_x_lambda": {"color": VERMILION, "linewidth": 1.4, "linestyle": (0, (5, 2))},
    "reg_fine": {"color": SKY, "linewidth": 1.4, "linestyle": (0, (5, 2)), "marker": "^", "markersize": 4},
    "reg_no_decay": {"color": PURPLE, "linewidth": 1.4, "linestyle": (0, (5, 2, 1, 2))},
    "constant": {"color": GREY, "linewidth": 1.2, "linestyle": ":"},
}
# Of arms without a style of their own, the first for reg.
SERIES = (BLACK, BLUE, ORANGE, VERMILION, SKY, PURPLE, GREEN, BROWN)
