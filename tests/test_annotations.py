"""Shape annotations are true: public functions run with every one of them checked."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from jaxtyping import install_import_hook

with install_import_hook("jaxalign", "beartype.beartype"):
    import jaxalign as ja
    from jaxalign import kernels, measures
    from jaxalign.engines import moments, tiles

import jax
import jax.numpy as jnp
import numpy as np
import pytest

moments.BLOCK_ROWS, tiles.TILE_ROWS = 16, 16
x, y = (np.random.default_rng(s).standard_normal((40, d)).astype(np.float32) for s, d in ((0, 3), (1, 5)))
mask = np.arange(40) < 30
ja.cka(x, y)
ja.cka(x, y, estimator="unbiased", mask=mask)
ja.cka(x, y, kernel=ja.RBF(), kernel_y=ja.Cosine(), estimator="unbiased", mask=mask)
ja.hsic(x, y, kernel=ja.Laplacian("kornblith"), kernel_y=ja.RBF("mean"))
ja.kernel_alignment(x, y, kernel=ja.Polynomial(2))
ja.mutual_knn(x, y, k=3)
ja.mutual_knn(x, y, k=1, metric="euclidean", mask=mask)
measures.cka().matrix([x, y, x])
measures.cka(kernel=ja.Distance()).matrix([x, y], [y], mask=mask)
measures.mutual_knn(k=3).matrix([x, y], [y])
(ja.RBF() + kernels.Linear() * ja.Cosine())(x, x[:4])
jax.jit(jax.vmap(jax.grad(lambda x, y: ja.cka(x, y, kernel=ja.RBF(2.0))), in_axes=(0, None)))(jnp.stack([x, x]), y)
signature = measures.mutual_knn(k=3).signature(jnp.asarray(x), jnp.asarray(mask))
signature.permute(jnp.arange(40)[::-1])
gram = measures.cka(kernel=ja.RBF()).signature(jnp.asarray(x))
gram.permute(jnp.arange(40)[::-1])
gram.matrix()

# The hook is on: a wrong shape is an error that names the annotation.
try:
    kernels.squared_distance.squared_distances(jnp.ones((2, 3)), jnp.ones((2, 4)))
except Exception as error:
    assert "type" in str(error).lower() and "jaxtyping" in type(error).__module__, repr(error)
else:
    raise SystemExit("annotations were not checked")
print("checked")
"""


def test_annotations_hold_at_run_time():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.strip() == "checked"
