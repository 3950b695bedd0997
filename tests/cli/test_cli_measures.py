"""`jaxalign measures`, from the measures themselves."""

from __future__ import annotations

from jaxalign.cli.measure_spec import KERNELS, parse_measure
from jaxalign.measures import INVARIANCES, MEASURES


def test_json_lists_everything(cli):
    run = cli("measures", "--json")
    assert (run.code, run.err) == (0, "")
    listed = {measure["name"]: measure for measure in run.document["measures"]}
    assert set(MEASURES) <= set(listed)
    assert {kernel["name"] for kernel in run.document["kernels"]} == set(KERNELS)
    assert run.document["invariances"] == dict(INVARIANCES)
    assert listed["cka"]["range"] == [0.0, 1.0]
    assert listed["cka:estimator=unbiased"]["range"] == [-1.0, 1.0]
    assert listed["hsic:estimator=unbiased"]["range"] == [None, None]
    assert listed["mutual_knn"]["settings"] == [
        {"key": "k", "default": 10, "choices": []},
        {"key": "metric", "default": "cosine", "choices": ["cosine", "euclidean"]},
    ]


def test_names_settings_and_choices_can_be_pasted_into_compare(cli):
    document = cli("measures", "--json").document
    for measure in document["measures"]:
        assert parse_measure(measure["name"]).definition == measure["definition"]
        name = measure["name"].partition(":")[0]
        for setting in measure["settings"]:
            for choice in [setting["default"], *setting["choices"]]:
                parse_measure(f"{name}:{setting['key']}={choice}")
    for kernel in document["kernels"]:
        for setting in kernel["settings"]:
            for choice in {setting["default"], *setting["choices"]} - {"NUMBER"}:
                parse_measure(f"cka:kernel={kernel['name']},{setting['key']}={choice}")


def test_text_says_it_all(cli):
    text = cli("measures").out
    for name, measure in MEASURES.items():
        assert f"\n{name}  -  " in text
        assert measure.reference in text
        assert measure.chance in text
    assert "-infinity to infinity; higher is more alike" in text
    assert "estimator=unbiased (or biased)" in text
    assert "any orthogonal map of the features" in text
    assert max(map(len, text.splitlines())) < 160
