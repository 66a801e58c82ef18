"""What readers see of names: an arm's words, of its settings too, and a stranger's name as it is."""

import pytest

from regcls_jax.report.tables import label


@pytest.mark.parametrize(
    ("arm", "shown"),
    [
        ("reg_cls", "reg+cls"),
        ("reg_cls_100_std", "reg+cls (100, standardised)"),
        ("reg_cls_bal_10_lam_0.1", "reg+cls bal (10, λ 0.1)"),
        ("reg_cls_100_lambda", "reg+cls (100, λ chosen)"),
        ("reg_cls_100_lambda_lam_0.1", "reg+cls (100, λ 0.1)"),
        ("reg_cls, lam 10.0", "reg+cls, lam 10.0"),
        ("reg_x_lambda, lam 3", "reg×λ, lam 3"),
        ("reg_mine", "reg_mine"),
        ("lds_fds", "lds_fds"),
    ],
)
def test_names_of_arms(arm, shown):
    assert label(arm) == shown
