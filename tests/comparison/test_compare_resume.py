"""A comparison that was killed goes on where it was; a folder of another one is refused."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxalign as ja
from jaxalign.comparison import blocks, store

MEASURES = [ja.measures.mutual_knn(k=5), ja.measures.cka()]

#: Compares in pieces, and kills itself when so many of them are on disk.
SCRIPT = """
import os, signal, sys
import numpy as np
import jaxalign as ja
from jaxalign.comparison import blocks, store

folder, out, pieces = sys.argv[1], sys.argv[2], int(sys.argv[3])
blocks.PIECE_COST = 1.0
inner = store.Store.save

def save(self, name, arrays):
    global pieces
    inner(self, name, arrays)
    print(name, flush=True)
    pieces -= 1
    if pieces == 0:
        os.kill(os.getpid(), signal.SIGKILL)

store.Store.save = save
g = np.random.default_rng(0)
a = {f"layer{i}": g.normal(size=(300, 8)).astype(np.float32) for i in range(3)}
measures = [ja.measures.mutual_knn(k=5), ja.measures.cka(kernel=ja.RBF()), ja.measures.cka()]
ja.compare(a, measures=measures, resume=folder).save(out)
"""


def run(folder, out, pieces):
    environment = {**os.environ, "PYTHONPATH": str(Path(ja.__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(out), str(pieces)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout.split()


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_was(tmp_path):
    code, whole = run(tmp_path / "undisturbed", tmp_path / "undisturbed.npz", 0)
    assert code == 0
    # Three layers, six tiles of a sweep and its scores, blocks of one pair.
    assert len(whole) == 3 + 7 + 6
    names = []
    for pieces in (2, 4, 5):
        code, made = run(tmp_path / "pieces", tmp_path / "out.npz", pieces)
        assert code == -signal.SIGKILL
        assert not (tmp_path / "out.npz").exists()
        names += made
    code, made = run(tmp_path / "pieces", tmp_path / "out.npz", 0)
    assert code == 0
    assert names + made == whole  # in order, nothing left out, nothing twice
    one, other = (ja.load_comparison(tmp_path / f"{name}.npz") for name in ("undisturbed", "out"))
    for key, matrix in one.values.items():
        np.testing.assert_array_equal(matrix, other.values[key])


@pytest.fixture
def finished(tmp_path, layers):
    """A finished comparison: what it gave, and its folder."""
    folder = tmp_path / "pieces"
    return ja.compare(layers(1), measures=MEASURES, resume=folder), folder


@pytest.fixture
def saved(monkeypatch):
    """Names of the pieces that are written."""
    names, inner = [], store.Store.save
    monkeypatch.setattr(store.Store, "save", lambda self, name, arrays: names.append(name) or inner(self, name, arrays))
    return names


def same_values(one, other):
    for key, matrix in one.values.items():
        np.testing.assert_array_equal(matrix, other.values[key])


def test_a_finished_comparison_computes_nothing(finished, layers, saved, monkeypatch):
    monkeypatch.setattr(ja.Measure, "matrix", None)
    first, folder = finished
    same_values(ja.compare(layers(1), measures=MEASURES, resume=folder), first)
    assert saved == []


def damages(content):
    middle = bytearray(content)
    middle[len(middle) // 3] ^= 0x01
    return [b"", content[: len(content) // 2], middle, b"no archive"]


def test_a_damaged_piece_is_made_again(finished, layers, saved):
    first, folder = finished
    pieces = sorted(folder.glob("*.npz"))
    assert len(pieces) == 4
    for piece in pieces[1], pieces[-1]:
        content = piece.read_bytes()
        for damaged in damages(content):
            piece.write_bytes(damaged)
            saved.clear()
            same_values(ja.compare(layers(1), measures=MEASURES, resume=folder), first)
            assert saved == [piece.stem]
            assert piece.read_bytes() == content


def test_no_damage_of_one_byte_goes_unnoticed(finished):
    _, folder = finished
    keeper = store.Store(None, {})
    keeper.folder = folder
    piece = next(folder.glob("cka*.npz"))
    with np.load(piece) as archive:
        matrix = archive["0"]
    content = piece.read_bytes()
    for place, flip in itertools.product(range(len(content)), (0x01, 0x02, 0x06, 0x0F)):  # "<f4" to ">f4", "<f2", "<i4"
        piece.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
        kept = keeper.load(piece.stem, [matrix])
        assert kept is None or np.array_equal(kept[0], matrix), place


def test_a_piece_of_another_shape_is_made_again(finished, layers, saved):
    first, folder = finished
    piece = next(folder.glob("cka*.npz"))
    for wrong in (np.zeros((3, 2), np.float32), np.zeros((3, 3), np.float64)):
        np.savez(piece, **{"0": wrong})
        same_values(ja.compare(layers(1), measures=MEASURES, resume=folder), first)
    assert saved == [piece.stem] * 2


def test_a_comparison_resumes_with_another_memory_limit(finished, layers):
    first, folder = finished
    again = ja.compare(layers(1), measures=MEASURES, resume=folder, max_memory=1)
    np.testing.assert_allclose(again.values["cka"], first.values["cka"], rtol=1e-5)


@pytest.mark.slow
def test_measures_that_look_alike_keep_pieces_of_their_own(tmp_path, layers):
    """`+` and `*` are no letters of file names, and a bandwidth may be shown shortened."""
    kernels = [ja.Linear() + ja.RBF(), ja.Linear() * ja.RBF()]
    measures = [ja.measures.cka(kernel=kernel) for kernel in kernels]
    fresh = ja.compare(layers(1, [8, 8]), measures=measures)
    kept = ja.compare(layers(1, [8, 8]), measures=measures, resume=tmp_path / "pieces")
    same_values(kept, fresh)
    one, other = kept.values.values()
    assert np.abs(one - other).max() > 1e-3


def test_measures_are_told_apart_by_their_numbers_too(tmp_path, layers, monkeypatch):
    monkeypatch.setattr(ja.RBF, "definition", "rbf(rounded)")
    one, other = (ja.measures.cka(kernel=ja.RBF(bandwidth=bandwidth)) for bandwidth in (1.0, 1.0001))
    ja.compare(layers(1, [3]), measures=one, resume=tmp_path / "pieces")
    with pytest.raises(ValueError, match="measures has"):
        ja.compare(layers(1, [3]), measures=other, resume=tmp_path / "pieces")


def test_long_definitions_have_short_file_names(tmp_path, layers):
    kernel = ja.Linear()
    for _ in range(40):
        kernel = kernel + ja.Linear()
    measure = ja.measures.cka(kernel=kernel)
    assert len(measure.definition) > 255
    assert ja.compare(layers(1, [3]), measures=measure, resume=tmp_path / "pieces").values["cka"].shape == (1, 1)


def changed(layers, row):
    a = layers(1)
    a[1] = a[1].copy()
    a[1][row, 0] += 1e-3
    return a


@pytest.mark.parametrize("row", [0, 7, 39])
def test_other_numbers_are_another_comparison(row, finished, layers):
    _, folder = finished
    with pytest.raises(ValueError, match=r"another comparison \(reps_a differs in the content of layer '1'"):
        ja.compare(changed(layers, row), measures=MEASURES, resume=folder)


def test_the_message_says_what_differs(finished, layers):
    _, folder = finished
    a = layers(1)
    cases = {
        "measures has .*'mutual_knn.k=5.* there and 'mutual_knn.k=6": {
            "measures": [ja.measures.mutual_knn(k=6), MEASURES[1]]
        },
        "measures has 2 there and 1 here": {"measures": MEASURES[:1]},
        "reps_b differs": {"reps_b": a},
        "mask differs": {"mask": np.arange(40) < 30},
    }
    for match, arguments in cases.items():
        with pytest.raises(ValueError, match=match) as caught:
            ja.compare(a, **{"measures": MEASURES, "resume": folder, **arguments})
        assert str(folder) in str(caught.value)
    with pytest.raises(ValueError, match="reps_a has 3 there and 2 here"):
        ja.compare(a[:2], measures=MEASURES, resume=folder)
    with pytest.raises(ValueError, match="reps_a differs in the name of layer 'x'"):
        ja.compare({"x": a[0], "1": a[1], "2": a[2]}, measures=MEASURES, resume=folder)
    manifest = folder / store.MANIFEST
    text = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**text, "version": "0.0.0"}))
    with pytest.raises(ValueError, match=r"version is '0\.0\.0' there and"):
        ja.compare(a, measures=MEASURES, resume=folder)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\udcff"])
def test_a_damaged_manifest_is_refused(content, finished, layers):
    _, folder = finished
    (folder / store.MANIFEST).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"manifest.json is damaged .*delete the folder to start anew"):
        ja.compare(layers(1), measures=MEASURES, resume=folder)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, layers):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ValueError, match=r"compare: resume folder .* holds other files, such as thesis.tex"):
        ja.compare(layers(1), measures=MEASURES, resume=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_kill_left_of_the_manifest_is_no_other_file(tmp_path, layers):
    (tmp_path / ".0123456789abcdef.tmp.json").write_text("{")
    ja.compare(layers(1), measures=MEASURES, resume=tmp_path)
    assert (tmp_path / store.MANIFEST).exists()


def test_a_folder_that_cannot_be_used_is_an_error_before_any_work(tmp_path, layers, monkeypatch):
    monkeypatch.setattr(blocks.BlockScores, "run", None)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="compare: the resume folder cannot be used") as caught:
            ja.compare(layers(1), measures=MEASURES, resume=folder)
        assert caught.value.filename == str(folder)
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"compare: the resume folder cannot be used \(Permission denied\)"):
        ja.compare(layers(1), measures=MEASURES, resume=tmp_path / "closed")


def test_a_full_disk_is_an_error_and_leaves_no_half_piece(tmp_path, layers, monkeypatch):
    def full(stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        ja.compare(layers(1), measures=MEASURES, resume=tmp_path / "pieces")
    assert [path.name for path in (tmp_path / "pieces").iterdir()] == [store.MANIFEST]


def test_nothing_is_read_to_be_recognized_without_a_folder(layers, monkeypatch):
    read = []
    monkeypatch.setattr(store, "_fingerprint", lambda array: read.append(array) or "")
    ja.compare(layers(1), measures=MEASURES)
    assert not read


def test_a_large_layer_is_known_by_evenly_spread_blocks(monkeypatch):
    monkeypatch.setattr(store, "BLOCK_BYTES", 4 * 8)  # two rows of four numbers
    monkeypatch.setattr(store, "MOST_BLOCKS", 4)
    x = np.arange(80, dtype=np.float32).reshape(20, 4)
    noticed = []
    for row in range(20):
        y = x.copy()
        y[row, 3] += 1
        noticed.append(store._fingerprint(x) != store._fingerprint(y))
    assert np.flatnonzero(noticed).tolist() == [0, 1, 6, 7, 12, 13, 18, 19]
    assert store._fingerprint(x) != store._fingerprint(x.reshape(10, 8))
