"""Measures as text."""

from __future__ import annotations

import pytest

from jaxalign import measures
from jaxalign.cli.errors import Problem
from jaxalign.cli.measure_spec import KERNELS, parse_measure
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Polynomial

SPECS = {
    "cka": measures.cka(),
    "cka:estimator=unbiased": measures.cka(estimator="unbiased"),
    "cka:kernel=cosine": measures.cka(kernel=Cosine()),
    "cka:kernel=rbf": measures.cka(kernel=RBF()),
    "cka:kernel=rbf,bandwidth=mean": measures.cka(kernel=RBF(bandwidth="mean")),
    "cka:bandwidth=0.5,kernel=rbf": measures.cka(kernel=RBF(bandwidth=0.5)),
    "cka: kernel = laplacian , bandwidth = 2": measures.cka(kernel=Laplacian(bandwidth=2.0)),
    "hsic:kernel=distance,exponent=0.5,scaling=nm1": measures.hsic(kernel=Distance(exponent=0.5), scaling="nm1"),
    "kernel_alignment:kernel=polynomial,degree=2,offset=0": measures.kernel_alignment(
        kernel=Polynomial(degree=2, offset=0.0)
    ),
    "mutual_knn:k=3,metric=euclidean": measures.mutual_knn(k=3, metric="euclidean"),
    "lcs_knn:normalize=false": measures.lcs_knn(normalize=False),
    "svcca:rank=none,variance=0.9": measures.svcca(variance=0.9),
    "svcca:rank=5": measures.svcca(rank=5),
    "kernel_mutual_information:bandwidth=2": measures.kernel_mutual_information(kernel=RBF(2.0)),
    "kernel_mutual_information:kernel=cosine": measures.kernel_mutual_information(kernel=Cosine()),
    "cka:estimator=minibatch,batch_size=64": measures.cka(estimator="minibatch", batch_size=64),
    "rsa:metric=crossnobis,repeats=2": measures.rsa(metric="crossnobis", repeats=2),
    "soft_knn:temperature=0.1,k=3": measures.soft_knn(temperature=0.1, k=3),
    "rsa:metric=euclidean,comparison=kendall": measures.rsa(metric="euclidean", comparison="kendall"),
}


@pytest.mark.parametrize("text", SPECS)
def test_a_text_is_the_measure_it_names(text):
    assert parse_measure(text) == SPECS[text]


@pytest.mark.parametrize("name", measures.MEASURES)
def test_every_measure_is_known_by_its_name(name):
    assert parse_measure(name) == measures.MEASURES[name]


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_is_known_by_its_name(kernel):
    assert type(parse_measure(f"cka:kernel={kernel}").signature.kernel) is KERNELS[kernel]


WRONG = {
    "ckaa": "unknown measure 'ckaa'; did you mean 'cka'? Known: kernel_alignment, cka, angular_cka, hsic",
    "": "unknown measure ''. Known:",
    "12": "unknown measure '12'. Known:",
    "lcs_knn:normalize=0": "normalize must be true or false, got '0'",
    "cka:": "settings are written KEY=VALUE",
    "cka:unbiased": "settings are written KEY=VALUE,KEY=VALUE, got 'unbiased'",
    "cka:estimator=": "settings are written KEY=VALUE",
    "cka:estimator=biased,estimator=biased": "estimator is given twice",
    "cka:estimatr=biased": "cka has no setting 'estimatr'; did you mean 'estimator'? Settings: kernel, estimator",
    "cka:kernel=rbf,qqq=1": "cka has no setting 'qqq'. Settings: kernel, estimator, batch_size, bandwidth",
    "cka:k=10": "cka has no setting 'k'",
    "cka:kernel_y=rbf": "cka has no setting 'kernel_y'",
    "cka:estimator=unbised": "got 'unbised'; did you mean 'unbiased'?",
    "cka:batch_size=9": "cka: batch_size is for estimator='minibatch', got 9 with 'biased'",
    "rsa:metric=crossnobis": "rsa: crossnobis needs every example measured repeats >= 2 times, got repeats=1",
    "cka:kernel=rbff": "unknown kernel 'rbff'; did you mean 'rbf'? Known: linear,",
    "cka:bandwidth=3": "'bandwidth' is a setting of the kernel rbf or laplacian: add kernel=rbf",
    "cka:kernel=rbf,bandwidth=meidan": "RBF: bandwidth must be one of 'median', 'kornblith', 'mean', got 'meidan'",
    "cka:kernel=rbf,bandwidth=-1": "RBF: bandwidth must be positive",
    "cka:kernel=rbf,bandwidth=nan": "bandwidth must be finite, got 'nan'",
    "cka:kernel=distance,exponent=two": "exponent must be a number, got 'two'",
    "cka:kernel=distance,exponent=3": "Distance: exponent must be in (0, 2]",
    "cka:kernel=polynomial,degree=2.5": "degree must be an integer, got '2.5'",
    "mutual_knn:k=ten": "k must be an integer, got 'ten'",
    "mutual_knn:metric=l2": "metric must be one of 'cosine', 'euclidean', got 'l2'",
    "mutual_knn:kernel=rbf": "mutual_knn has no setting 'kernel'. Settings: k, metric",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_text_is_explained(text):
    with pytest.raises(Problem) as problem:
        parse_measure(text)
    assert WRONG[text] in str(problem.value)
    assert problem.value.code == 2
    if ":" in text:
        assert str(problem.value).startswith(f"--measure {text!r}: ")
