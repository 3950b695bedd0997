"""`python -m jaxalign.cli` is `jaxalign`."""

from jaxalign.cli import main

if __name__ == "__main__":
    main()
