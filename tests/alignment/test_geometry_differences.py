"""Differences of what describes one representation: other libraries, all pairs, `compare`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import geometry_family as oracle

from jaxalign import compare
from jaxalign.measures import geometry

X, Y = CASES["A"]
MEASURES = {
    geometry.magnitude_difference(): oracle.magnitude,
    geometry.concentricity_difference(): oracle.concentricity,
    geometry.uniformity_difference(): oracle.uniformity,
    geometry.intrinsic_dimension_difference(): oracle.intrinsic_dimension,
    geometry.intrinsic_dimension_difference(method="mle", k=2): oracle.intrinsic_dimension,
    geometry.participation_ratio_difference(): oracle.participation_ratio,
    geometry.effective_rank_difference(): oracle.effective_rank,
}
#: ReSi's values.
PEERS = {
    "magnitude_difference": {"A": 0.6917610614934746, "B": 0.5381166375406186, "D": 0.06166438826931753},
    "concentricity_difference": {"A": 0.13960555991321494, "B": 0.07300760203298978, "D": 0.02324475871863163},
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", ["A", pytest.param("B", marks=pytest.mark.slow), "D"])
def test_values_of_another_library(case):
    for name, expected in PEERS.items():
        assert float(getattr(geometry, name)()(*CASES[case])) == pytest.approx(expected[case], rel=1e-10)


@pytest.mark.usefixtures("float64")
def test_uniformity_of_rows_as_long_as_they_are_is_another_number():
    """ReSi leaves rows as they are and counts pairs of a row with itself, which is what is left in many dimensions."""
    for case, expected in {"A": 3.7138567101635545e-06, "B": 0.0, "D": 0.15198980142068397}.items():
        plain = [np.log(np.mean(np.exp(-2 * oracle.cdist(x, x, "sqeuclidean")))) for x in CASES[case]]
        assert abs(plain[0] - plain[1]) == pytest.approx(expected, rel=1e-9)
    assert float(geometry.uniformity_difference()(X, Y)) > 0.3


@pytest.mark.slow
def test_all_pairs_are_differences_of_the_definitions():
    layers = [x.astype(np.float32) for x in (X, Y[:, :16], X**3)]  # of one shape, for one program each
    found = compare(layers, measures=list(MEASURES), progress=False).values
    for measure, definition in MEASURES.items():
        values = np.array([definition(x.astype(np.float64)) for x in layers])
        expected = np.abs(values[:, None] - values[None, :])
        key = measure.name if measure.name in found else measure.definition
        np.testing.assert_allclose(found[key], expected, rtol=1e-4, atol=1e-4 * np.max(np.abs(values)))
        np.testing.assert_array_equal(np.diag(found[key]), 0)


@pytest.mark.usefixtures("float64")
def test_layers_of_different_dtypes_meet_in_the_widest():
    measure = geometry.magnitude_difference()
    layers = [X, Y.astype(np.float32)]
    found = compare(layers, measures=measure, progress=False).values["magnitude_difference"]
    assert found.dtype == np.float64
    assert found[0, 1] == pytest.approx(PEERS["magnitude_difference"]["A"], rel=1e-6)
    assert measure.score(jnp.float32(1), jnp.float64(3)) == 2


def test_definitions_and_mistakes():
    assert (
        geometry.uniformity_difference(temperature=3).definition == "uniformity_difference[uniformity,temperature=3.0]"
    )
    assert [measure.definition.split("[")[1] for measure in MEASURES if "dimension" in measure.name] == [
        "intrinsic_dimension,method=twonn]",
        "intrinsic_dimension,method=mle,k=2]",
    ]
    with pytest.raises(ValueError, match="temperature must be positive"):
        geometry.uniformity_difference(temperature=0)
    with pytest.raises(ValueError, match="intrinsic_dimension: method must be one of"):
        geometry.intrinsic_dimension_difference(method="pca")
    with pytest.raises(ValueError, match="x must have more than 20 rows"):
        geometry.intrinsic_dimension_difference(method="mle")(X[:9], Y[:9])
