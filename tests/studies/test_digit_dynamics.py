"""The theory on the digits."""

import numpy as np
import pytest

from jaxalign.studies import digit_distances, digit_pair, load_digits


@pytest.mark.slow
def test_distances_of_digits_take_the_pattern_of_the_theory():
    found = digit_distances(key=0, networks=2, epochs=(0, 5), per_class=5)
    assert found["network"].shape == (2, 50, 50)
    assert list(found["labels"][::5]) == list(range(10))
    np.testing.assert_allclose(found["network"].mean(axis=(1, 2)).shape, (2,))
    np.testing.assert_array_equal(found["network"], np.swapaxes(found["network"], 1, 2))
    untrained, trained = found["correlation"]
    assert trained[0] > 0.75 > untrained[0]
    pairs = np.triu_indices(50, 1)
    assert trained[0] == pytest.approx(np.corrcoef(found["theory"][pairs], found["network"][1][pairs])[0, 1])
    apart = np.repeat(np.arange(10), 5)[pairs[0]] != np.repeat(np.arange(10), 5)[pairs[1]]
    assert trained[1] == pytest.approx(
        np.corrcoef(found["theory"][pairs][apart], found["network"][1][pairs][apart])[0, 1]
    )
    assert found["loss"][1] < 0.1 * found["loss"][0]


@pytest.mark.slow
def test_a_pair_of_digits_among_all_separates_as_the_theory_has_it_in_shape_only():
    run = digit_pair(key=0, epochs=60)
    digits = load_digits()
    x = digits.x_train.reshape(len(digits.x_train), -1)
    first = [x[np.flatnonzero(digits.y_train == k)[0]] for k in (0, 1)]
    assert run.recording.dx2[0] == pytest.approx(np.sum((first[0] - first[1]) ** 2) / x.var(), rel=1e-5)
    assert run.recording.dy2[0] == 2
    assert run.row["h_network"] > 3 * run.row["h_start"]
    assert run.row["r2_h"] > 0.8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: digit_distances(key=0, networks=0), "networks must be at least 1"),
        (lambda: digit_distances(key=0, epochs=()), "epochs must name at least one"),
        (lambda: digit_distances(key=0, epochs=(5, 1)), "epochs must increase"),
        (lambda: digit_distances(key=0, per_class=1), "per_class must be at least 2"),
        (lambda: digit_pair(key=0, digits=(3, 3)), "digits must not repeat"),
        (lambda: digit_pair(key=0, digits=(3, 10)), "digits must be two from 0 to 9"),
        (lambda: digit_pair(key=0, lr=0.0), "lr must be positive"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
