"""What CI runs, one session each: `nox` for all but `docs` and `bench`, `nox -s tests -- -k cka` for a part of one."""

import nox

nox.options.sessions = ["lint", "types", "tests", "doctest"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, as linter and as formatter."""
    session.install("ruff>=0.12")
    session.run("ruff", "check", ".", *session.posargs)
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Pyright over the package and the benchmarks."""
    session.install("-e", ".[test]", "pyright[nodejs]>=1.1.400")
    session.run("pyright", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def doctest(session: nox.Session) -> None:
    """Every example in a docstring."""
    session.install("-e", ".[test]")
    session.run("pytest", "--doctest-modules", "jaxalign", "-o", "addopts=-q", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The HTML documentation, into `docs/_build/html`; a warning is an error."""
    session.install("-e", ".[demo,docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; `benchmarks/README.md` says how to read them."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "benchmarks", *session.posargs)
