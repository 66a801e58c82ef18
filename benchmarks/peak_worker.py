"""Times NumPy's float32 matrix product, the practical peak of one core (start it with OPENBLAS_NUM_THREADS=1)."""

import time

import numpy as np
from worker import Answer, serve

SIZE = 1024


def matrix_products(seconds: float) -> Answer:
    """GFLOP/s of square float32 products [SIZE, SIZE] over about `seconds`."""
    a, b = np.random.default_rng(0).standard_normal((2, SIZE, SIZE), np.float32)
    out = a @ b
    count, clock = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - clock) < seconds:
        np.matmul(a, b, out=out)
        count += 1
    return {"gflops": count * 2 * SIZE**3 / elapsed / 1e9}


if __name__ == "__main__":
    serve(matrix_products)
