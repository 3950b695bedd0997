"""Batches from arrays, files, dicts and generators; errors that name the batch."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.streaming import Misalignment, accumulate, row_blocks, stream

RNG = np.random.default_rng(2)
X, Y = (RNG.standard_normal((20, d)).astype(np.float32) for d in (3, 2))
TARGETS = RNG.standard_normal((20, 1)).astype(np.float32)


def test_blocks_of_files_are_the_rows(tmp_path):
    for name, array in (("x", X), ("y", jnp.asarray(Y, jnp.bfloat16))):
        jnp.save(tmp_path / f"{name}.npy", array)
    blocks = list(row_blocks(tmp_path / "x.npy", str(tmp_path / "y.npy"), TARGETS, rows=8))
    assert [len(x) for x, _, _ in blocks] == [8, 8, 4]
    joined = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    np.testing.assert_array_equal(joined[0], X)
    assert joined[1].dtype == jnp.bfloat16
    np.testing.assert_array_equal(joined[1].astype(np.float32), np.asarray(jnp.asarray(Y, jnp.bfloat16), np.float32))
    np.testing.assert_array_equal(joined[2], TARGETS)
    assert isinstance(blocks[0][0].base, np.memmap)
    assert np.isfinite(stream(Misalignment(w2=np.ones((2, 1))), blocks).affine.head.risk)


def test_blocks_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match=r"argument 1 must have one row .* shapes are \(20, 3\), \(19, 2\)"):
        row_blocks(X, Y[:-1])
    with pytest.raises(ValueError, match="at least one"):
        row_blocks(X[:0])
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        row_blocks(X, rows=0)
    np.savez(tmp_path / "both.npz", x=X, y=Y)
    with pytest.raises(ValueError, match=r"must be an \.npy file of one array"):
        row_blocks(tmp_path / "both.npz")
    with pytest.raises(OSError, match=r"none\.npy"):
        row_blocks(tmp_path / "none.npy")


def test_tuples_lists_dicts_and_generators_are_batches():
    expected = stream(Misalignment(w2=np.ones((2, 1))), [(X, Y, TARGETS)])
    for batches in (
        [[X, Y, TARGETS]],
        ({"y": Y, "targets": TARGETS, "x": X, "mask": None} for _ in range(1)),
        iter([(jnp.asarray(X), jnp.asarray(Y), jnp.asarray(TARGETS))]),
    ):
        found = stream(Misalignment(w2=np.ones((2, 1))), batches)
        assert found.cka == expected.cka
        assert found.linear.head.risk == expected.linear.head.risk
    assert stream(Misalignment(w2=np.ones((2, 1))), [(X, Y)]).linear.head is None


def test_a_state_goes_on():
    accumulator = Misalignment()
    state = accumulate(accumulator, [(X[:7], Y[:7])])
    assert accumulate(accumulator, [], state=state) is state
    found = accumulator.result(accumulate(accumulator, [(X[7:], Y[7:])], state=state))
    np.testing.assert_allclose(found.cka, stream(accumulator, [(X, Y)]).cka, rtol=1e-5)
    assert found.examples == 20


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X, Y[:-1]), ValueError, "batch 1: .*same number of rows"),
        ((X, Y[:, :1]), ValueError, r"batch 1: Misalignment.update: y must have 2 columns, got ndarray|array"),
        ((X, Y, TARGETS), ValueError, "batch 1: .*targets must be None"),
        ((X.astype(int), Y), TypeError, "batch 1: .*x must be floating point"),
        ((X, Y, TARGETS, TARGETS), ValueError, "batch 1: must have at most 3 arrays"),
        ({"x": X, "z": Y}, ValueError, "batch 1: keys must be among x, y, targets, mask, got 'z'"),
        ({"x": X, "targets": Y}, ValueError, "batch 1: 'y' must be given along with 'targets'"),
        (X, TypeError, "batch 1: must be a tuple of arrays .* or a dict, got ndarray"),
        ("x", TypeError, "batch 1: must be a tuple of arrays"),
        (({}, Y), TypeError, "batch 1: .*x must be an array"),
    ],
)
def test_a_bad_batch_is_named(batch, error, message):
    with pytest.raises(error, match=message):
        stream(Misalignment(), [(X, Y), batch])


def test_no_batches():
    once = iter([(X, Y)])
    stream(Misalignment(), once)
    with pytest.raises(ValueError, match="batches must hold at least one, got none; an iterator"):
        stream(Misalignment(), once)
