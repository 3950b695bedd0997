"""Shape annotations are true: public functions run with every one of them checked."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from jaxtyping import install_import_hook

# All but the neighbor lists, a dataclass that also holds those of many layers while they are mapped over.
parts = ("_core", "kernels", "engines", "signatures.gram", "signatures.batching", "alignment", "measures")
with install_import_hook([f"jaxalign.{part}" for part in parts], "beartype.beartype"):
    import jaxalign as ja
    from jaxalign import kernels, measures
    from jaxalign.engines import moments, tiles

import jax
import jax.numpy as jnp
import numpy as np

moments.BLOCK_ROWS, tiles.TILE_ROWS = 16, 16
x, y = (jnp.asarray(np.random.default_rng(s).standard_normal((40, d)), jnp.float32) for s, d in ((0, 3), (1, 5)))
mask = jnp.arange(40) < 30


def calls(x, y, mask):
    # Annotations are checked while tracing: nothing need be compiled.
    yield ja.cka(x, y)
    yield ja.cka(x, y, estimator="unbiased", mask=mask)
    yield ja.cka(x, y, kernel=ja.RBF(), kernel_y=ja.Cosine(), estimator="unbiased", mask=mask)
    yield ja.hsic(x, y, kernel=ja.Laplacian("kornblith"), kernel_y=ja.RBF("mean"))
    yield ja.kernel_alignment(x, y, kernel=ja.Polynomial(2))
    yield ja.mutual_knn(x, y, k=3)
    yield ja.mutual_knn(x, y, k=1, metric="euclidean", mask=mask)
    yield measures.cka().matrix([x, y, x])
    yield measures.cka(kernel=ja.Distance()).matrix([x, y], [y], mask=mask)
    yield measures.mutual_knn(k=3).matrix([x, y], [y])
    yield (ja.RBF() + kernels.Linear() * ja.Cosine())(x, x[:4])
    yield jax.vmap(jax.grad(lambda x, y: ja.cka(x, y, kernel=ja.RBF(2.0))), in_axes=(0, None))(jnp.stack([x, x]), y)
    yield jax.jvp(jax.grad(lambda x: ja.cka(x, y, estimator="unbiased")), (x,), (x,))
    order = jnp.arange(40)[::-1]
    yield measures.mutual_knn(k=3).signature(x, mask).permute(order)
    gram = measures.cka(kernel=ja.RBF()).signature(x).permute(order)
    yield gram.matrix()


assert len(jax.eval_shape(lambda *arrays: list(calls(*arrays)), x, y, mask)) == 15

# The hook is on: a wrong shape is an error that names the annotation.
try:
    kernels.squared_distance.squared_distances(jnp.ones((2, 3)), jnp.ones((2, 4)))
except Exception as error:
    assert "type" in str(error).lower() and "jaxtyping" in type(error).__module__, repr(error)
else:
    raise SystemExit("annotations were not checked")
print("checked")
"""


@pytest.mark.slow
def test_annotations_hold_at_run_time():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.strip() == "checked"
